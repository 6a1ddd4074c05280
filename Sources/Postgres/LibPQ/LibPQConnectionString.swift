import CLibPQ

/// A connection URI taken apart by libpq itself.
enum LibPQConnectionString {
    /// The settings that the URI names; nil when libpq cannot parse it.
    ///
    /// libpq's own error text is dropped: it may quote the URI, and with it the password.
    static func parse(_ uri: String) -> [(keyword: String, value: String)]? {
        guard let options = unsafe PQconninfoParse(uri, nil) else { return nil }
        defer { unsafe PQconninfoFree(options) }
        var settings: [(keyword: String, value: String)] = []
        var position = unsafe options
        while let keyword = unsafe position.pointee.keyword {
            if let value = unsafe position.pointee.val {
                unsafe settings.append((String(cString: keyword), String(cString: value)))
            }
            unsafe position += 1
        }
        return settings
    }
}
