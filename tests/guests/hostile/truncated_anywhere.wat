;; An honest component that its test cuts at each of 200 places.
