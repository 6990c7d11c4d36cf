--- The user's options: defaults, and what is wrong with what was given. Knows nothing of what they are for.

local M = {}

---@class tersely.Config
---@field cmd string[] the server's command line
---@field settings table the server's settings, without the leading `tersely.`
---@field filetypes? string[] only these; nil: all
---@field root_markers string[] what marks a project's root
---@field ghost "auto"|"native"|"own"|"off" who shows suggestions
---@field menu "hide"|"beside" what becomes of them while a completion menu is open
---@field debounce_ms integer how long typing must rest before our own ghost text asks
---@field keys table<string, string> keys for accept, accept_word, accept_line, next, dismiss

---@type tersely.Config
local defaults = {
  cmd = { "tersely", "lsp" },
  settings = {},
  filetypes = nil,
  root_markers = { ".git", "pyproject.toml", "package.json", "go.mod", "Cargo.toml" },
  ghost = "auto",
  menu = "hide",
  debounce_ms = 60,
  keys = {},
}

local CHOICES = { ghost = { "auto", "native", "own", "off" }, menu = { "hide", "beside" } }
local TYPES = {
  cmd = "table",
  settings = "table",
  filetypes = "table",
  root_markers = "table",
  ghost = "string",
  menu = "string",
  debounce_ms = "number",
  keys = "table",
}

---@type tersely.Config?
local current

--- What is wrong with the options, in words; nil if nothing is.
---@param options table
---@return string?
local function problem_with(options)
  for name, value in pairs(options) do
    if not TYPES[name] then
      return ('there is no option "%s"; see :help tersely-options'):format(name)
    end
    if type(value) ~= TYPES[name] then
      return ('the option "%s" must be a %s, not a %s'):format(name, TYPES[name], type(value))
    end
    if CHOICES[name] and not vim.tbl_contains(CHOICES[name], value) then
      return ('the option "%s" must be one of %s'):format(name, table.concat(CHOICES[name], ", "))
    end
  end
  if options.cmd and #options.cmd == 0 then
    return 'the option "cmd" must name a command, such as { "tersely", "lsp" }'
  end
  if options.ghost == "native" and not (vim.lsp.inline_completion or {}).enable then
    return 'the option "ghost" can be "native" from Neovim 0.12 on only; leave it out here'
  end
end

--- Take the user's options over the defaults. Returns what is wrong, and takes nothing then.
---@param options table
---@return string? problem
function M.set(options)
  local problem = problem_with(options)
  if problem then
    return problem
  end
  current = vim.tbl_extend("force", vim.deepcopy(defaults), options)
end

--- Whether `setup` was called.
---@return boolean
function M.ready()
  return current ~= nil
end

---@return tersely.Config
function M.get()
  return current or defaults
end

--- Whether Neovim itself shows the suggestions.
---@return boolean
function M.native()
  local ghost = M.get().ghost
  return ghost == "native" or (ghost == "auto" and vim.lsp.inline_completion ~= nil)
end

--- The command line of `tersely` with other arguments than `lsp`.
---@param ... string
---@return string[]
function M.command(...)
  local words = vim.deepcopy(M.get().cmd)
  while #words > 1 and (words[#words] == "--stdio" or words[#words] == "lsp") do
    words[#words] = nil
  end
  return vim.list_extend(words, { ... })
end

return M
