--- Names that users map and type. Nothing is started before `require("tersely").setup()`, and no key is taken.

if vim.g.loaded_tersely then
  return
end
vim.g.loaded_tersely = true

local maps = {
  ["accept"] = "Take the whole suggestion",
  ["accept-word"] = "Take the suggestion's next word",
  ["accept-line"] = "Take the suggestion's next line",
  ["next"] = "Show another suggestion",
  ["dismiss"] = "Put the suggestion away",
}
for name, description in pairs(maps) do
  vim.keymap.set("i", ("<Plug>(tersely-%s)"):format(name), function()
    require("tersely")[name:gsub("-", "_")]()
  end, { silent = true, desc = "tersely: " .. description })
end

vim.api.nvim_create_user_command("Tersely", function(call)
  require("tersely.command").run(call)
end, {
  nargs = "*",
  range = true,
  desc = "tersely: refactor, cancel, status, model, level, toggle, explain, page, restart",
  complete = function(lead, line)
    return require("tersely.command").complete(lead, line)
  end,
})
