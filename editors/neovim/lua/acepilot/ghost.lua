-- Ghost text for Neovim 0.11: asks at every key, shows the answer as virtual text, and follows what is typed.
--
-- While the text is typed along, nothing is asked, and the one extmark moves before the screen is drawn.
local Suggestion = require('acepilot.suggestion')

local M = { enabled = true }

local NAMESPACE = vim.api.nvim_create_namespace('acepilot')
local INVOKED, AUTOMATIC = 1, 2 -- LSP's InlineCompletionTriggerKind

local candidates = {}
local shown = 0 -- which of them; 0: none
local pending -- the request that is under way

local function in_insert_mode() return vim.api.nvim_get_mode().mode:sub(1, 1) == 'i' end

--- The extmark at the cursor: the line as it will be, then the further lines.
local function picture(suggestion, left, over)
  local text = left:gsub('\t', (' '):rep(vim.bo.tabstop))
  local rest = suggestion.rest
  local lines = vim.split(text, '\n', { plain = true })
  local mark = { id = 1, virt_text_pos = 'inline' }
  if #lines == 1 and vim.endswith(text, over) then
    lines[1] = text:sub(1, #text - #over) -- what is replaced returns at the end: it only moves aside
    over, rest = '', ''
  end
  local chunks = vim.tbl_map(function(line) return { { line, 'AcepilotGhost' } } end, lines)
  if over .. rest ~= '' then
    mark.virt_text_pos = 'overlay' -- paints over what is replaced or moves to the last line
    table.insert(chunks[#chunks], { rest })
    local width = vim.fn.strdisplaywidth
    local visible = width(lines[1]) + (#lines == 1 and width(rest) or 0)
    table.insert(chunks[1], { (' '):rep(width(over .. rest) - visible) })
  end
  mark.virt_text = table.remove(chunks, 1)
  mark.virt_lines = chunks
  return mark
end

--- Show candidate number `index` as far as it is still to come; false where it does not fit the text.
local function show(index)
  local suggestion = candidates[index]
  local left, over = suggestion:left()
  if not left or left == '' then return false end
  shown = index
  local row, column = unpack(vim.api.nvim_win_get_cursor(0))
  vim.api.nvim_buf_set_extmark(suggestion.buffer, NAMESPACE, row - 1, column, picture(suggestion, left, over))
  if not suggestion.was_shown then
    suggestion.was_shown = true
    suggestion.client:notify('textDocument/didShowCompletion', { item = suggestion.item })
  end
  return true
end

local function cancel()
  if pending and pending.id then pending.client:cancel_request(pending.id) end
  pending = nil
end

local function forget()
  cancel()
  for _, suggestion in ipairs(candidates) do
    if vim.api.nvim_buf_is_valid(suggestion.buffer) then
      vim.api.nvim_buf_clear_namespace(suggestion.buffer, NAMESPACE, 0, -1)
    end
  end
  candidates, shown = {}, 0
end

local function ask(trigger)
  local buffer = vim.api.nvim_get_current_buf()
  local client = vim.lsp.get_clients({ name = 'acepilot', bufnr = buffer })[1]
  if not client or not client.initialized then return end
  cancel()
  local this = { client = client, tick = vim.api.nvim_buf_get_changedtick(buffer) }
  pending = this
  local params = vim.lsp.util.make_position_params(0, client.offset_encoding)
  params.context = { triggerKind = trigger }
  local function answered(_, result) -- why there is none, the server's status tells
    if pending ~= this then return end
    pending = nil
    if not in_insert_mode() or this.tick ~= vim.api.nvim_buf_get_changedtick(buffer) then return end
    local found = { candidates[shown] } -- what the user went on from stays among the candidates
    local seen = found[1] and found[1]:left()
    for _, item in ipairs(result and result.items or {}) do
      local suggestion = Suggestion.new(client, buffer, item)
      if suggestion.text ~= seen then table.insert(found, suggestion) end
    end
    local index = seen and 2 or 1
    if found[index] then
      forget()
      candidates = found
      show(index)
    elseif trigger == INVOKED then
      vim.notify('Acepilot has no other completion here; :Acepilot tells more.')
    end
  end
  _, this.id = client:request('textDocument/inlineCompletion', params, answered, buffer)
end

local function text_changed()
  if shown > 0 and show(shown) then return end
  forget()
  if M.enabled then ask(AUTOMATIC) end
end

function M.start()
  vim.api.nvim_set_hl(0, 'AcepilotGhost', { default = true, link = 'Comment' })
  local group = vim.api.nvim_create_augroup('acepilot', {})
  local function on(events, callback)
    vim.api.nvim_create_autocmd(events, { group = group, callback = callback })
  end
  on({ 'InsertEnter', 'TextChangedI', 'TextChangedP' }, text_changed)
  on({ 'CursorMovedI' }, function()
    if shown > 0 and not candidates[shown]:typed() then forget() end
  end)
  on({ 'InsertLeave', 'BufLeave' }, forget)
end

function M.enable(enabled)
  M.enabled = enabled
  forget()
end

--- Take 'all', a 'line' or a 'word' of what is shown. False where nothing is shown.
function M.accept(size)
  local suggestion = candidates[shown]
  if not suggestion or not suggestion:typed() then return false end
  vim.schedule(function() -- Neovim forbids changes within a mapping's expression
    if suggestion:typed() and suggestion:take(suggestion:piece(size)) then forget() end
  end)
  return true
end

--- The next candidate that fits; with one alone, or none, ask the server for several.
function M.next()
  for step = 1, #candidates - 1 do
    if show((shown + step - 1) % #candidates + 1) then return true end
  end
  ask(INVOKED)
  return true
end

function M.dismiss()
  local was_shown = shown > 0
  forget()
  return was_shown
end

return M
