(class_declaration name: (identifier) @here)
(formal_parameters (identifier) @here)
(formal_parameters (assignment_pattern left: (identifier) @here))
