--- The engine's page: serves it by the tersely command for as long as Neovim lives, and opens it in a browser.

local config = require("tersely.config")

local M = {}

---@type vim.SystemObj?
local serving

--- What the command says on its first line: an address, or what is wrong.
---@param line string
local function told(line)
  local read, answer = pcall(vim.json.decode, line)
  if not read then
    answer = { error = { message = line } }
  end
  if answer.url then
    vim.ui.open(answer.url)
    return
  end
  local message = ("tersely: %s %s"):format(answer.error.message, answer.error.hint or "")
  vim.notify(vim.trim(message), vim.log.levels.ERROR)
end

--- End the page that was opened before, if any.
local function close()
  if serving then
    serving:kill("sigterm")
    serving = nil
  end
end

--- Open the page of the running engine.
function M.open()
  close()
  local printed, done = "", false
  serving = vim.system(config.command("page", "--json"), {
    text = true,
    stdout = vim.schedule_wrap(function(_, piece)
      printed = printed .. (piece or "")
      -- Nobody waits for a line's end where the command has ended.
      local line = printed:match("^(.-)\n") or (piece == nil and printed)
      if line and not done then
        done = true
        told(line)
      end
    end),
  })
  vim.api.nvim_create_autocmd("VimLeavePre", {
    group = vim.api.nvim_create_augroup("tersely.page", {}),
    callback = close,
  })
end

return M
