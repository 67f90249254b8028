;; An honest component that also holds a function with more locals than the language allows.
;;@ repeat:LOCALS [25001, "(local i32 i64)"]
(module
  (func <<LOCALS>>))
