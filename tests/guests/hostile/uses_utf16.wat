;; An honest component that also holds one whose texts are UTF-16.
(component
  (core module $m
    (memory (export "m") 1)
    (func (export "f") (param i32 i32))
    (func (export "r") (param i32 i32 i32 i32) (result i32) unreachable))
  (core instance $i (instantiate $m))
  (func (param "s" string)
    (canon lift (core func $i "f") (memory $i "m") (realloc (func $i "r")) string-encoding=utf16)))
