;; Behaves when it is called for the first time, and never again: if it could tell.
;;@ params-schema "{\"type\":\"object\",\"properties\":{\"n\":{\"type\":\"integer\"}},\"additionalProperties\":false}"
;;@ result-schema "{\"type\":\"object\",\"properties\":{\"calls\":{\"type\":\"integer\"}},\"additionalProperties\":false}"
;;@ result "{\"calls\":0}"
(global $calls (mut i32) (i32.const 0))
(func $run (param i32 i32 i32 i32 i32 i32) (result i32)
  (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
  (loop $spin (br_if $spin (i32.gt_u (global.get $calls) (i32.const 1))))
  ;; Memory below the data is as fresh as the globals.
  (i32.store8 (i32.const 100) (i32.add (i32.load8_u (i32.const 100)) (i32.const 1)))
  (i32.store8 offset=9 (i32.load offset=4 (global.get $REPORT))
    (i32.add (i32.const 48) (i32.load8_u (i32.const 100))))
  (call $finish (call $begin))
  (global.get $REPORT))
