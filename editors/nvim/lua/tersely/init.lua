--- What users call. Starts the server's client, and chooses who shows its suggestions; does neither itself.

local M = {}

local OLDEST = "0.10"

--- Whether this Neovim is new enough; says so once if not.
local function supported()
  if vim.fn.has("nvim-" .. OLDEST) == 1 then
    return true
  end
  local version = vim.version()
  local message = "tersely needs Neovim %s or newer; this is %d.%d.%d. Please update Neovim, or remove the plugin."
  vim.notify_once(message:format(OLDEST, version.major, version.minor, version.patch), vim.log.levels.ERROR)
  return false
end

--- The module that shows suggestions: Neovim's own from 0.12 on, ours before, or as `ghost` says.
local function ghost()
  return require("tersely.config").native() and require("tersely.native") or require("tersely.ghost")
end

--- Start. Options: see |tersely-options|. Returns whether tersely runs here.
---@param options? table
---@return boolean
function M.setup(options)
  if not supported() then
    return false
  end
  local config = require("tersely.config")
  local problem = config.set(options or {})
  if problem then
    vim.notify("tersely: " .. problem, vim.log.levels.ERROR)
    return false
  end
  require("tersely.paint").highlight()
  require("tersely.keys").set(config.get().keys)
  if config.get().ghost ~= "off" then
    require("tersely.menu").watch(function()
      ghost().refresh()
    end)
  end
  require("tersely.client").enable(function(client, bufnr)
    if config.get().ghost ~= "off" then
      ghost().attach(client, bufnr)
    end
  end)
  return true
end

--- Whether a suggestion is on screen, so that a key can mean something else when there is none.
---@return boolean
function M.visible()
  return require("tersely.config").ready() and ghost().current() ~= nil
end

---@param kind tersely.Part
---@return boolean taken
local function accept(kind)
  if not require("tersely.config").ready() then
    return false
  end
  return ghost().accept(kind)
end

--- Take the whole suggestion. Returns whether there was one.
---@return boolean
function M.accept()
  return accept("all")
end

--- Take its next word.
---@return boolean
function M.accept_word()
  return accept("word")
end

--- Take its next line.
---@return boolean
function M.accept_line()
  return accept("line")
end

--- Show another suggestion; asks for alternatives where only one is known.
function M.next()
  if require("tersely.config").ready() then
    ghost().next()
  end
end

--- Put the suggestion away until the text changes. Returns whether there was one.
---@return boolean
function M.dismiss()
  return M.visible() and ghost().dismiss()
end

--- A short text for a status line: state, and the milliseconds that the last answer took.
---@return string
function M.statusline()
  return require("tersely.status").line()
end

return M
