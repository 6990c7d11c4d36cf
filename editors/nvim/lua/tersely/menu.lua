--- Completion menus: whether one is open, and when that changes. Knows Neovim's own, blink.cmp and nvim-cmp.

local api = vim.api

local M = {}

--- A module that is loaded already; a menu that is not loaded is not open.
local function loaded(name)
  local module = package.loaded[name]
  return type(module) == "table" and module or nil
end

--- Whether a completion menu is on screen.
---@return boolean
function M.open()
  if vim.fn.pumvisible() == 1 then
    return true
  end
  local blink = loaded("blink.cmp")
  if blink and blink.is_menu_visible and blink.is_menu_visible() then
    return true
  end
  local cmp = loaded("cmp")
  return cmp ~= nil and type(cmp.visible) == "function" and cmp.visible() == true
end

--- Whether a menu is open that suggestions make room for.
---@return boolean
function M.in_the_way()
  return require("tersely.config").get().menu == "hide" and M.open()
end

local cmp_watched = false

--- nvim-cmp tells by callbacks of its own, and may be loaded late.
local function watch_cmp(changed)
  local cmp = loaded("cmp")
  if cmp_watched or not cmp or not cmp.event then
    return
  end
  cmp_watched = true
  cmp.event:on("menu_opened", changed)
  cmp.event:on("menu_closed", changed)
end

--- Call `changed` after a menu opened or closed.
---@param changed fun()
function M.watch(changed)
  local group = api.nvim_create_augroup("tersely.menu", {})
  local soon = vim.schedule_wrap(changed)
  api.nvim_create_autocmd({ "CompleteChanged", "CompleteDone" }, { group = group, callback = soon })
  api.nvim_create_autocmd("User", {
    group = group,
    pattern = { "BlinkCmpMenuOpen", "BlinkCmpMenuClose" },
    callback = soon,
  })
  api.nvim_create_autocmd("InsertEnter", {
    group = group,
    callback = function()
      watch_cmp(soon)
    end,
  })
end

return M
