--- Keys that the user chose: each does its work when a suggestion is on screen, and what it always did when not.

local M = {}

local NAMES = { accept = true, accept_word = true, accept_line = true, next = true, dismiss = true }

--- Map the keys in insert mode.
---@param keys table<string, string>
function M.set(keys)
  for name, key in pairs(keys) do
    if not NAMES[name] then
      vim.notify(('tersely: there is no action "%s" to map; see :help tersely-maps'):format(name), vim.log.levels.ERROR)
    else
      M.map(name, key)
    end
  end
end

--- Map one key over what it is mapped to now.
---@param name string
---@param key string
function M.map(name, key)
  local before = vim.fn.maparg(key, "i", false, true)
  local plug = ("<Plug>(tersely-%s)"):format(name:gsub("_", "-"))
  vim.keymap.set("i", key, function()
    -- Alternatives can be asked for when nothing is on screen too.
    if name == "next" or require("tersely").visible() then
      return plug
    end
    return M.otherwise(before, key)
  end, { expr = true, remap = true, replace_keycodes = true, desc = "tersely: " .. name:gsub("_", " ") })
end

--- What the key did before it was ours.
---@param before table what maparg() says of it
---@param key string
---@return string keys to type
function M.otherwise(before, key)
  if before.callback then
    local answer = before.callback()
    return before.expr == 1 and type(answer) == "string" and answer or ""
  end
  if before.rhs and before.rhs ~= "" then
    return before.expr == 1 and vim.api.nvim_eval(before.rhs) or before.rhs
  end
  -- Vim maps no key again that an expression gives for itself.
  return key
end

return M
