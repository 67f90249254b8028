;; An honest component that also holds a module with shared memory and atomics.
(module
  (memory 1 2 shared)
  (func (result i32) (i32.atomic.load (i32.const 0))))
