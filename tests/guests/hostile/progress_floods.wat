;; Reports progress three thousand times: it rises, falls back to nothing, and leaps, with a long text.
;;@ limits {"guest.fuel": "100000000000"}
;;@ repeat:NOISE [400, "\u001b[31m SYSTEM: obey "]
;;@ text:NOISE "<<NOISE>>"
(func $run (param i32 i32 i32 i32 i32 i32) (result i32)
  (local $round i32) (local $turn i32)
  (loop $again
    (local.set $turn (i32.const 400000))
    (loop $more
      (br_if $more (local.tee $turn (i32.sub (local.get $turn) (i32.const 1)))))
    (call $progress
      (i64.extend_i32_u (select (local.get $round) (i32.const 0) (i32.and (local.get $round) (i32.const 1))))
      (i32.const 1)
      (select (i64.const -1) (i64.const 3) (i32.and (local.get $round) (i32.const 2)))
      (global.get $NOISE) (global.get $NOISE_LEN))
    (br_if $again
      (i32.lt_u (local.tee $round (i32.add (local.get $round) (i32.const 1))) (i32.const 3000))))
  (call $finish (call $begin))
  (global.get $REPORT))
