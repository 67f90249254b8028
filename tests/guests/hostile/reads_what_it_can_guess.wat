;; Has one input, and asks for others by every name that they could have: positions before and after
;; its own, the digest, the id, the path, no name.
;;@ plan-inputs ["data"]
;;@ text:A "sha256:f5bd0e8fb0b7e8f5f6f0a6a8e5b4e5b9f5bd0e8fb0b7e8f5f6f0a6a8e5b4e5b9"
;;@ text:B "art_0000000000000000000000000000"
;;@ text:C "../data"
;;@ text:D "data\u0000"
;;@ text:E ""
;;@ failed:NOT_LINKED "it is not linked"
(func $found (param $role i32) (param $length i32) (param $index i32) (result i32)
  (call $open (local.get $role) (local.get $length) (local.get $index) (i32.const 0) (i32.const 64))
  (i32.eqz (i32.load8_u (i32.const 64))))
(func $run (param i32 i32 i32 i32 i32 i32) (result i32)
  (if (i32.or
        (i32.or
          (i32.or (call $found (global.get $DATA) (global.get $DATA_LEN) (i32.const -1))
            (call $found (global.get $DATA) (global.get $DATA_LEN) (i32.const 1)))
          (i32.or (call $found (global.get $DATA) (global.get $DATA_LEN) (i32.const 1000000))
            (call $found (global.get $A) (global.get $A_LEN) (i32.const 0))))
        (i32.or
          (i32.or (call $found (global.get $B) (global.get $B_LEN) (i32.const 0))
            (call $found (global.get $C) (global.get $C_LEN) (i32.const 0)))
          (i32.or (call $found (global.get $D) (global.get $D_LEN) (i32.const 0))
            (call $found (global.get $E) (global.get $E_LEN) (i32.const 0)))))
    (then (unreachable)))
  (global.get $NOT_LINKED))
