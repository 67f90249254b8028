;; Takes a megabyte more until there is no more, and writes to each of its pages, so that the machine
;; has to find them.
;;@ limits {"guest.memory": "\"384MiB\"", "guest.fuel": "1000000000000"}
(func $run (param i32 i32 i32 i32 i32 i32) (result i32)
  (local $at i32)
  (local.set $at (i32.mul (memory.size) (i32.const 65536)))
  (loop $more
    (drop (memory.grow (i32.const 16)))
    (loop $page
      (i32.store (local.get $at) (local.get $at))
      (br_if $page
        (i32.and (local.tee $at (i32.add (local.get $at) (i32.const 4096))) (i32.const 0xfffff))))
    (br $more))
  (unreachable))
