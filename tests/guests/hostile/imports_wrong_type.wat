;; Our import by name and version, with another type: bytes where text is meant.
;;@ wit-replace ["log: func(level: level, text: string)", "log: func(level: level, text: list<u8>)"]
