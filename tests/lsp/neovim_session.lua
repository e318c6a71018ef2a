-- Run by test_lsp_neovim.py: `nvim --headless -u NONE -l neovim_session.lua PYTHON SERVER_URL FILE LINE COLUMN`.
-- Neovim's own LSP client opens a real file, types, asks, applies; the answers go to stdout as one JSON object.
local python, server_url, path, line, column = unpack(arg)
line, column = tonumber(line), tonumber(column)

local statuses = {}
local client_id = vim.lsp.start_client({
  name = 'acepilot',
  cmd = { python, '-m', 'lsp', '--server-url', server_url, '--time-budget-ms', '60000' },
  root_dir = vim.fs.dirname(path),
  handlers = {
    ['acepilot/status'] = function(_, params)
      table.insert(statuses, params.state)
    end,
  },
})
local client = assert(vim.lsp.get_client_by_id(client_id))

vim.cmd.edit(path)
local buffer = vim.api.nvim_get_current_buf()
vim.bo.filetype = vim.filetype.match({ filename = path, buf = buffer })
assert(vim.wait(10000, function() return client.initialized end), 'the language server did not start')
vim.lsp.buf_attach_client(buffer, client_id)
assert(vim.wait(10000, function() return vim.tbl_contains(statuses, 'ready') end), 'never ready')

local function position()
  local cursor = vim.api.nvim_win_get_cursor(0)
  local text = vim.api.nvim_get_current_line()
  return {
    line = cursor[1] - 1,
    character = vim.str_utfindex(text, client.offset_encoding, cursor[2]),
  }
end

local function ask(method, context)
  local params = {
    textDocument = vim.lsp.util.make_text_document_params(),
    position = position(),
    context = context,
  }
  local answer = assert(client:request_sync(method, params, 60000, buffer))
  assert(not answer.err, vim.inspect(answer.err))
  return answer.result
end

vim.opt.virtualedit = 'onemore'
vim.api.nvim_win_set_cursor(0, { line + 1, column })
local inline = ask('textDocument/inlineCompletion', { triggerKind = 1 })
local menu = ask('textDocument/completion', { triggerKind = 1 })

local applied = {}
if type(inline) == 'table' and inline.items[1] then
  local item = inline.items[1]
  vim.lsp.util.apply_text_edits({ { range = item.range, newText = item.insertText } }, buffer, client.offset_encoding)
  applied = vim.api.nvim_buf_get_lines(buffer, 0, -1, false)
  local counts = client:request_sync('workspace/executeCommand', {
    command = item.command.command, arguments = item.command.arguments,
  }, 5000, buffer)
  statuses.accepted = counts and counts.result and counts.result.accepted
end

io.stdout:write(vim.json.encode({
  encoding = client.offset_encoding,
  inline = inline or vim.NIL,
  menu = menu or vim.NIL,
  applied = applied,
  accepted = statuses.accepted or vim.NIL,
}))
client:stop()
vim.wait(5000, function() return client:is_stopped() end)
