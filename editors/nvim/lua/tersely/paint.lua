--- Ghost text on the screen: one mark at the cursor. Knows nothing of servers.

local api = vim.api

local M = {}

local OURS = "tersely"
local GROUP = "TerselyGhost"
local COUNT_GROUP = "TerselyCount"

--- Define the highlight groups; a colour scheme or the user may have done so before.
function M.highlight()
  local native = vim.fn.hlexists("ComplHint") == 1
  api.nvim_set_hl(0, GROUP, { link = native and "ComplHint" or "Comment", default = true })
  api.nvim_set_hl(0, COUNT_GROUP, { link = native and "ComplHintMore" or "NonText", default = true })
end

--- Show `text` at the cursor, and `count` (such as "(2/3)") behind it.
---@param bufnr integer
---@param text string
---@param how "inline"|"overlay"
---@param count? string
---@param namespace? string whose mark it is; ours without
function M.show(bufnr, text, how, count, namespace)
  M.clear(bufnr, namespace)
  local lines = {}
  for _, line in ipairs(vim.split(text, "\n", { plain = true })) do
    -- A tab in virtual text is one cell wide: show it as wide as it will be.
    local spaces = (" "):rep(vim.bo[bufnr].tabstop)
    lines[#lines + 1] = { { (line:gsub("\t", spaces)), GROUP } }
  end
  if count then
    table.insert(lines[#lines], { " " .. count, COUNT_GROUP })
  end
  local place = api.nvim_win_get_cursor(0)
  api.nvim_buf_set_extmark(bufnr, api.nvim_create_namespace(namespace or OURS), place[1] - 1, place[2], {
    virt_text = lines[1],
    virt_text_pos = how,
    virt_lines = vim.list_slice(lines, 2),
    hl_mode = "combine",
  })
end

---@param bufnr integer
---@param namespace? string
function M.clear(bufnr, namespace)
  if api.nvim_buf_is_valid(bufnr) then
    api.nvim_buf_clear_namespace(bufnr, api.nvim_create_namespace(namespace or OURS), 0, -1)
  end
end

--- A character is about to be typed at the cursor: show what will be left behind it, or nothing. Without this, typing
--- faster than Neovim runs autocommands would push an older ghost text along.
---@param suggestion tersely.Suggestion?
---@param character string
---@param namespace? string
function M.typing(suggestion, character, namespace)
  local rest = suggestion and suggestion:rest()
  if not suggestion or not rest then
    return
  end
  if vim.startswith(rest, character) and #rest > #character then
    local text, how = suggestion:display(rest:sub(#character + 1))
    M.show(suggestion.bufnr, text, how, nil, namespace)
  else
    M.clear(suggestion.bufnr, namespace)
  end
end

return M
