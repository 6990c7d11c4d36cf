(function_definition name: (word) @name body: (_) @body) @function
(program (variable_assignment name: (variable_name) @name) @constant)
((command name: (command_name) @_source) @import (#match? @_source "^(source|\\.)$"))
