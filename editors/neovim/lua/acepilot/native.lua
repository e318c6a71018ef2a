-- Neovim 0.12 and later: vim.lsp.inline_completion shows the ghost text; here it gets our keys.
local Suggestion = require('acepilot.suggestion')

local inline = vim.lsp.inline_completion

local M = { enabled = true }

function M.start()
  vim.api.nvim_create_autocmd('LspAttach', {
    group = vim.api.nvim_create_augroup('acepilot', {}),
    callback = function(event)
      local client = vim.lsp.get_client_by_id(event.data.client_id)
      if client and client.name == 'acepilot' then inline.enable(M.enabled, { bufnr = event.buf }) end
    end,
  })
end

function M.enable(enabled)
  M.enabled = enabled
  for _, client in ipairs(vim.lsp.get_clients({ name = 'acepilot' })) do
    for buffer in pairs(client.attached_buffers) do
      inline.enable(enabled, { bufnr = buffer })
    end
  end
end

--- Take 'all', a 'line' or a 'word' of what is shown. False where nothing is shown.
function M.accept(size)
  if size == 'all' then return inline.get() end
  return inline.get({
    on_accept = function(item)
      local client = assert(vim.lsp.get_client_by_id(item.client_id))
      local suggestion = Suggestion.new(client, vim.api.nvim_get_current_buf(), {
        insertText = item.insert_text,
        range = item.range:to_lsp(client.offset_encoding),
        command = item.command,
      })
      if suggestion:typed() then suggestion:take(suggestion:piece(size)) end
    end,
  })
end

function M.next()
  inline.select()
  return true
end

--- Neovim has no call that hides one completion: off, until more is typed.
function M.dismiss()
  if not M.enabled then return false end
  local buffer = { bufnr = vim.api.nvim_get_current_buf() }
  inline.enable(false, buffer)
  vim.api.nvim_create_autocmd({ 'TextChangedI', 'InsertLeave' }, {
    once = true,
    callback = function() inline.enable(M.enabled, buffer) end,
  })
  return true
end

return M
