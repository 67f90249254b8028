;; Asks for a table of a thousand million elements.
(table $t 1 funcref)
(func $run (param i32 i32 i32 i32 i32 i32) (result i32)
  (drop (table.grow $t (ref.null func) (i32.const 1000000000)))
  (call $finish (call $begin))
  (global.get $REPORT))
