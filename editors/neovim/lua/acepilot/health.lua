-- :checkhealth acepilot
local M = {}

function M.check()
  local acepilot, health = require('acepilot'), vim.health
  health.start('Acepilot')
  if not acepilot.options then
    return health.error("It is not set up: call require('acepilot').setup {} in your init.lua.")
  end
  local program = acepilot.options.cmd[1]
  if vim.fn.executable(program) == 0 then
    return health.error(program .. ' is not a program here.', { 'Install Acepilot, or give its path as `cmd`.' })
  end
  health.ok('The language server is ' .. vim.fn.exepath(program) .. '.')
  health.info(
    vim.lsp.inline_completion and 'Neovim shows the ghost text itself (vim.lsp.inline_completion).'
      or 'This Neovim has no vim.lsp.inline_completion: Acepilot shows the ghost text.'
  )
  local status = acepilot.status
  local tell = status.state == 'ready' and health.ok or health.warn
  tell(('State: %s. %s'):format(status.state, status.message))
  if status.reason ~= '' then health.info('The last request: ' .. status.reason) end
  health.info('More: ' .. program .. ' --doctor')
end

return M
