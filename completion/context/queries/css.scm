(rule_set (selectors) @name (block) @body) @class
(keyframes_statement (keyframes_name) @name) @class
((declaration (property_name) @name) @constant (#match? @name "^--"))
(import_statement) @import
