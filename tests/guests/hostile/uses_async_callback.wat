;; An honest component that also holds one that lifts a function as asynchronous, with a callback
;; that gives two results where one is expected: the shape of RUSTSEC-2026-0327.
(component
  (core module $m
    (func (export "f") (result i32) (i32.const 0))
    (func (export "callback") (param i32 i32 i32) (result i32 i32) (i32.const 0) (i32.const 0)))
  (core instance $i (instantiate $m))
  (func (canon lift (core func $i "f") async (callback (func $i "callback")))))
