;; An honest component that also holds a function with as many locals as the language allows, no two
;; neighbours of one type.
;;@ repeat:LOCALS [25000, "(local i32 i64)"]
(module
  (func <<LOCALS>>))
