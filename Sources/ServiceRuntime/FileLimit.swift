import Glibc

/// The process's limit of open files, which bounds its connections.
enum FileLimit {
    /// Raises the soft limit to the hard one; what cannot be raised stays.
    static func raise() {
        guard var limit = current else { return }
        limit.rlim_cur = min(limit.rlim_max, 65_536)
        unsafe _ = setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }

    /// How many files may be open at once.
    static var maximum: Int {
        current.map { Int(clamping: $0.rlim_cur) } ?? 1_024
    }

    private static var current: rlimit? {
        var limit = rlimit()
        guard unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return nil }
        return limit
    }
}
