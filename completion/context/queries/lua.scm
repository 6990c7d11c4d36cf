(function_declaration name: (identifier) @name body: (_)? @body) @function
(function_declaration name: (dot_index_expression field: (identifier) @name) body: (_)? @body) @function
(function_declaration name: (method_index_expression method: (identifier) @name) body: (_)? @body) @method
(assignment_statement
  (variable_list name: [(identifier) @name (dot_index_expression field: (identifier) @name)])
  (expression_list value: (function_definition))) @function
(chunk (variable_declaration (assignment_statement (variable_list name: (identifier) @name))) @constant)
((function_call name: (identifier) @_require) @import (#eq? @_require "require"))
