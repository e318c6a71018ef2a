-- Acepilot in Neovim 0.11 and later: require('acepilot').setup {} starts the language server for every file,
-- shows its completions as ghost text, and maps the keys. How it is: :Acepilot, :checkhealth acepilot.
local M = {}

--- What the language server told last, in the words of its `acepilot/status`.
M.status = { state = 'stopped', message = 'No file is open that Acepilot could complete.', reason = '' }

local DEFAULTS = {
  cmd = { 'acepilot-lsp' },
  keys = {
    accept = '<Tab>',
    accept_word = '<M-Right>',
    accept_line = '<M-Down>',
    next = '<M-]>',
    dismiss = '<C-]>',
  },
}

--- The ghost text: Neovim's own where it has one.
local function surface() return require(vim.lsp.inline_completion and 'acepilot.native' or 'acepilot.ghost') end

--- For 'statusline': %{v:lua.require'acepilot'.statusline()}
function M.statusline()
  return 'Acepilot: ' .. (surface().enabled and M.status.state or 'disabled')
end

local function set_status(status)
  local is_new = status.message ~= M.status.message and status.message ~= ''
  M.status = status
  if is_new and vim.tbl_contains({ 'off', 'unauthorized', 'error' }, status.state) then
    vim.notify('Acepilot: ' .. status.message, vim.log.levels.WARN)
  end
  vim.cmd.redrawstatus()
end

--- Map `key` to `action`; where that has nothing to do, the key does what it did before.
local function map(key, action)
  local before = vim.fn.maparg(key, 'i', false, true)
  local function pressed()
    if action() then return '' end
    if before.callback then
      local keys = before.callback()
      return before.expr == 1 and keys or ''
    elseif before.rhs then
      return before.expr == 1 and vim.api.nvim_eval(before.rhs) or before.rhs
    end
    return key
  end
  local remap = before.noremap == 0
  vim.keymap.set('i', key, pressed, { expr = true, remap = remap, desc = 'Acepilot, else as before' })
end

local function command(call)
  if call.args == 'toggle' then surface().enable(not surface().enabled) end
  local lines = { M.statusline() }
  if M.status.message ~= '' then table.insert(lines, M.status.message) end
  if M.status.reason ~= '' then table.insert(lines, 'The last request: ' .. M.status.reason) end
  vim.print(table.concat(lines, '\n'))
end

--- `options.cmd`: the language server's command. `options.keys`: see DEFAULTS; false leaves a key alone.
function M.setup(options)
  M.options = vim.tbl_deep_extend('force', DEFAULTS, options or {})
  local keys, ghost = M.options.keys, surface()
  vim.api.nvim_create_user_command('Acepilot', command, {
    nargs = '?',
    complete = function() return { 'status', 'toggle' } end,
    desc = 'How Acepilot is, and switching its completions off and on',
  })
  if vim.fn.executable(M.options.cmd[1]) == 0 then
    local missing = '%s is not a program here. Install Acepilot (docs/editors/neovim.md), or give its path: '
      .. 'require("acepilot").setup { cmd = { "/path/to/.venv/bin/acepilot-lsp" } }'
    return set_status({ state = 'error', message = missing:format(M.options.cmd[1]), reason = '' })
  end
  vim.lsp.config('acepilot', {
    cmd = M.options.cmd,
    root_markers = { '.git' },
    flags = { debounce_text_changes = 0 }, -- keys that arrive together look like an accepted completion
    -- With this the server leaves the completion menu alone. Neovim 0.12 says so itself.
    capabilities = { textDocument = { inlineCompletion = { dynamicRegistration = false } } },
    handlers = { ['acepilot/status'] = function(_, status) set_status(status) end },
    on_exit = function(code)
      local state = code == 0 and 'stopped' or 'error'
      local message = ('The language server ended with code %d. Ask %s --doctor.'):format(code, M.options.cmd[1])
      vim.schedule(function() set_status({ state = state, message = message, reason = '' }) end)
    end,
  })
  vim.lsp.enable('acepilot')
  ghost.start()
  for action, act in pairs({
    accept = function() return ghost.accept('all') end,
    accept_word = function() return ghost.accept('word') end,
    accept_line = function() return ghost.accept('line') end,
    next = ghost.next,
    dismiss = ghost.dismiss,
  }) do
    if keys[action] then map(keys[action], act) end
  end
end

return M
