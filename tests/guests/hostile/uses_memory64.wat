;; An honest component that also holds a module with 64-bit memory.
(module
  (memory i64 1))
