-- One completion: where it belongs in its buffer, how much of it stands there already, and taking more of it.
--
-- Nothing is counted along: each question is answered from the buffer's text, so typing along, deleting and
-- brackets that close themselves cannot put it out of step. Rows start at 0, columns are bytes.
local Suggestion = {}
Suggestion.__index = Suggestion

local CLOSER = { ['('] = ')', ['['] = ']', ['{'] = '}', ['"'] = '"', ["'"] = "'", ['`'] = '`' }
local IS_QUOTE = { ['"'] = true, ["'"] = true, ['`'] = true }

--- `item`: an LSP InlineCompletionItem with a range, which is on one line.
function Suggestion.new(client, buffer, item)
  local start, stop = item.range.start, item.range['end']
  local line = vim.api.nvim_buf_get_lines(buffer, start.line, start.line + 1, false)[1] or ''
  local from = vim.str_byteindex(line, client.offset_encoding, start.character, false)
  local to = vim.str_byteindex(line, client.offset_encoding, stop.character, false)
  return setmetatable({
    client = client,
    buffer = buffer,
    item = item,
    text = (item.insertText:gsub('\r\n', '\n')),
    row = start.line,
    column = from,
    over = line:sub(from + 1, to), -- what the whole text replaces
    rest = line:sub(to + 1), -- what stays behind it
  }, Suggestion)
end

--- The cursor's row and column, and the text right of it.
local function cursor()
  local row, column = unpack(vim.api.nvim_win_get_cursor(0))
  return row - 1, column, vim.api.nvim_get_current_line():sub(column + 1)
end

--- What of the text stands left of the cursor; nil where cursor or buffer say something else than the text.
function Suggestion:typed()
  local row, column, after = cursor()
  if vim.api.nvim_get_current_buf() ~= self.buffer then return nil end
  local ok, lines = pcall(vim.api.nvim_buf_get_text, self.buffer, self.row, self.column, row, column, {})
  local typed = ok and table.concat(lines, '\n') or nil
  local still = #after - #self.rest -- of `over`: the rest of it was closed or deleted meanwhile
  if typed and vim.startswith(self.text, typed) and still >= 0 and still <= #self.over then
    local expected = self.over:sub(#self.over - still + 1) .. self.rest
    return after == expected and typed or nil
  end
end

--- What is still to come, and what it will replace right of the cursor. Nil like `typed`.
function Suggestion:left()
  local typed = self:typed()
  if not typed then return nil end
  local _, _, after = cursor()
  return self.text:sub(#typed + 1), after:sub(1, #after - #self.rest)
end

--- The next piece of what is still to come: 'all' of it, a 'line' or a 'word'.
function Suggestion:piece(size)
  local left = self:left()
  if size == 'line' then return left:match('^\n?[^\n]*') end
  local word = size == 'word' and vim.fn.matchstr(left, [[^\_s*\%(\k\+\|\%(\k\@!\S\)\+\)]]) or ''
  return word ~= '' and word or left
end

--- How many of `over`'s closers the beginning of the text has closed itself.
local function closed_by(beginning, over)
  local open, closed = {}, 0
  for char in beginning:gmatch('[%[%](){}"\'`]') do
    local innermost = open[#open]
    if char == innermost then
      open[#open] = nil
    elseif not IS_QUOTE[innermost] then
      if not innermost and char == over:sub(closed + 1, closed + 1) then
        closed = closed + 1
      else
        open[#open + 1] = CLOSER[char]
      end
    end
  end
  return closed
end

--- How the language server counts: UTF-16, from the text's beginning, in the line ends that it sent.
function Suggestion:units(text)
  if self.item.insertText:find('\r\n', 1, true) then text = text:gsub('\n', '\r\n') end
  return vim.str_utfindex(text, 'utf-16')
end

--- Put the next piece at the cursor and tell the server. True once the whole text stands there.
function Suggestion:take(piece)
  local row, column = cursor()
  local typed = self:typed() .. piece
  local whole = typed == self.text
  local _, over = self:left()
  local stays = whole and 0 or #self.over - closed_by(typed, self.over)
  local lines = vim.split(piece, '\n', { plain = true })
  vim.go.undolevels = vim.go.undolevels -- ends the undo step: one `u` takes back the completion alone
  vim.api.nvim_buf_set_text(self.buffer, row, column, row, column + math.max(0, #over - stays), lines)
  local last = #lines[#lines] + (#lines == 1 and column or 0)
  vim.api.nvim_win_set_cursor(0, { row + #lines, last })
  if not whole then
    local accepted = { item = self.item, acceptedLength = self:units(typed) }
    self.client:notify('textDocument/didPartiallyAcceptCompletion', accepted)
  elseif self.item.command then
    self.client:exec_cmd(self.item.command, { bufnr = self.buffer }, function() end)
  end
  return whole
end

return Suggestion
