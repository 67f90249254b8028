;; An honest component that also holds a module whose memory has pages of one byte.
(module
  (memory 1 (pagesize 1)))
