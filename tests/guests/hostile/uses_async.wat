;; An honest component that also holds a component with a stream.
(component
  (type $bytes (stream u8)))
