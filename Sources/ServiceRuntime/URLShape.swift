/// Checks the outer form of a connection URL without showing any of it.
enum URLShape {
    /// What is wrong with the URL, to be read after its name; nil when its form is right.
    static func problem(of url: String, schemes: [String]) -> String? {
        guard url.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7F }) else { return "contains a space or a control character" }
        guard let colon = url.firstRange(of: "://") else { return "is not a URL" }
        guard schemes.contains(url[..<colon.lowerBound].lowercased()) else { return "has another scheme" }
        let rest = url[colon.upperBound...]
        let authority = rest.prefix { !"/?#".contains($0) }
        let hosts = authority.lastIndex(of: "@").map { authority[authority.index(after: $0)...] } ?? authority
        for host in hosts.split(separator: ",", omittingEmptySubsequences: false) {
            if let problem = problem(ofHost: host) { return problem }
        }
        return nil
    }

    private static func problem(ofHost text: Substring) -> String? {
        let name: Substring
        let port: Substring
        if text.first == "[" {
            // An IPv6 address stands in brackets, since it has colons of its own.
            guard let end = text.firstIndex(of: "]") else { return "has no ']' after the address" }
            name = text[..<end].dropFirst()
            port = text[end...].dropFirst()
        } else {
            name = text.prefix { $0 != ":" }
            port = text.dropFirst(name.count)
        }
        if name.isEmpty { return "has no host" }
        if port.isEmpty { return nil }
        guard port.first == ":", let number = Int(port.dropFirst()), (1...65_535).contains(number) else {
            return "has a port that is not a number from 1 to 65535"
        }
        return nil
    }
}
