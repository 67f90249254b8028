;; Opens each of its inputs decoded, reads a little of it, and gives the reader back.
;;@ tool "reopens"
(func $run (param i32 i32 i32 i32 i32 i32) (result i32)
  (local $index i32)
  (block $end
    (loop $more
      (call $open (global.get $DATA) (global.get $DATA_LEN) (local.get $index) (i32.const 1) (i32.const 64))
      (br_if $end (i32.load8_u (i32.const 64)))
      (call $read (i32.load (i32.const 68)) (i32.const 16) (i32.const 72))
      (call $drop_reader (i32.load (i32.const 68)))
      (local.set $index (i32.add (local.get $index) (i32.const 1)))
      (br $more)))
  (call $finish (call $begin))
  (global.get $REPORT))
