--- `:Tersely`: its words, and what they do.

local config = require("tersely.config")
local status = require("tersely.status")

local M = {}

local LEVELS = { "quiet", "balanced", "eager" }
local DEFAULT_MODEL = "smollm2-135m"

---@param message string
---@param level? integer
local function say(message, level)
  vim.notify("tersely: " .. message, level or vim.log.levels.INFO)
end

local function change(name, value)
  config.get().settings[name] = value
  require("tersely.client").settings_changed()
end

--- Let the user choose among the models that have names.
local function choose_model()
  vim.system(
    config.command("model", "list", "--json"),
    { text = true },
    vim.schedule_wrap(function(done)
      local read, models = pcall(vim.json.decode, done.stdout)
      if done.code ~= 0 or not read then
        say("the models cannot be listed: " .. vim.trim(done.stderr or ""), vim.log.levels.ERROR)
        return
      end
      vim.ui.select(models, {
        prompt = "Model",
        format_item = function(model)
          return ("%s (%s)"):format(model.name, model.installed and "is here" or "will be fetched")
        end,
      }, function(model)
        if model then
          change("model", model.name)
        end
      end)
    end)
  )
end

local actions = {}

function actions.status()
  local now, latency_ms = status.get(), status.latency_ms()
  local settings = config.get().settings
  if not now then
    say("no server is running for this buffer; look at :checkhealth tersely", vim.log.levels.WARN)
    return
  end
  local lines = {
    ("%s %s"):format(now.message, now.hint or ""),
    ("model: %s, level: %s"):format(settings.model or DEFAULT_MODEL, settings.level or "balanced"),
    ("suggestions: %s"):format(config.native() and "by Neovim's inline completion" or "by the plugin"),
  }
  if latency_ms then
    lines[#lines + 1] = ("last answer: %.0f ms"):format(latency_ms)
  end
  say(table.concat(lines, "\n"))
end

function actions.model(call)
  local name = call.fargs[2]
  if name then
    change("model", name)
  else
    choose_model()
  end
end

function actions.level(call)
  local level = call.fargs[2]
  if not vim.tbl_contains(LEVELS, level) then
    say("the level is quiet, balanced or eager", vim.log.levels.ERROR)
    return
  end
  change("level", level)
end

function actions.toggle()
  local enabled = config.get().settings.enabled == false
  change("enabled", enabled)
  say(enabled and "on" or "off")
end

function actions.explain()
  require("tersely.explain").open()
end

function actions.page()
  require("tersely.page").open()
end

function actions.refactor(call)
  local wish = vim.trim(call.args:gsub("^%s*%S+", "", 1))
  local selected = call.range > 0
  require("tersely.refactor").start(wish, selected and call.line1 or nil, selected and call.line2 or nil)
end

function actions.cancel()
  require("tersely.refactor").cancel()
end

function actions.restart()
  require("tersely.client").restart()
end

---@param call { args: string, fargs: string[], range: integer, line1: integer, line2: integer } as commands have it
function M.run(call)
  if not config.ready() then
    say('call require("tersely").setup() first; see :help tersely', vim.log.levels.ERROR)
    return
  end
  local name = call.fargs[1] or "status"
  local action = actions[name]
  if not action then
    say(('there is no ":Tersely %s"; see :help :Tersely'):format(name), vim.log.levels.ERROR)
    return
  end
  if call.range > 0 and name ~= "refactor" then
    say(('":Tersely %s" is not for lines'):format(name), vim.log.levels.ERROR)
    return
  end
  action(call)
end

---@param lead string
---@param line string
---@return string[]
function M.complete(lead, line)
  local first = line:match("Tersely!?%s+(%S+)%s")
  local words = first == "level" and LEVELS or first and {} or vim.tbl_keys(actions)
  table.sort(words)
  return vim.tbl_filter(function(word)
    return vim.startswith(word, lead)
  end, words)
end

return M
