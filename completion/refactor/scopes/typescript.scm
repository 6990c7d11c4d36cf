[(function_signature) (method_signature) (interface_declaration) (type_alias_declaration) (internal_module)
 (function_type)] @scope
(internal_module) @function
(function_signature name: (identifier) @outer)
(class_declaration name: (type_identifier) @here)
(abstract_class_declaration name: (type_identifier) @here)
(interface_declaration name: (type_identifier) @outer)
(type_alias_declaration name: (type_identifier) @outer)
(enum_declaration name: (identifier) @here)
(internal_module name: (identifier) @outer)
(type_parameter name: (type_identifier) @here)
(required_parameter pattern: (identifier) @here)
(optional_parameter pattern: (identifier) @here)
