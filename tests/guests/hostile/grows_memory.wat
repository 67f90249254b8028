;; Takes a megabyte more until there is no more.
(func $run (param i32 i32 i32 i32 i32 i32) (result i32)
  (loop $more
    (drop (memory.grow (i32.const 16)))
    (br $more))
  (unreachable))
