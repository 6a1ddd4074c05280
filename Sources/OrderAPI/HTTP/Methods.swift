import HTTPTypes
import Hummingbird

/// The path is served, but not with this method.
struct MethodNotAllowed: Error {
    /// What `Allow` says.
    let allow: String
}

extension Router {
    /// Answers the methods that the paths so far do not have: OPTIONS with 204, the others with 405, each with `Allow`.
    ///
    /// HEAD is left to the router, which makes it of GET.
    func refuseOtherMethods() {
        let all = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY"]
            .compactMap { HTTPRequest.Method($0) }
        for (path, routes) in Dictionary(grouping: routes, by: { $0.path.description }) {
            var served = Set(routes.map(\.method))
            if served.contains(.get) { served.insert(.head) }
            let allow = served.union([.options]).map(\.rawValue).sorted().joined(separator: ", ")
            for method in all where !served.contains(method) {
                on(RouterPath(path), method: method) { _, _ -> Response in
                    guard method == .options else { throw MethodNotAllowed(allow: allow) }
                    return Response(status: .noContent, headers: [.allow: allow])
                }
            }
        }
    }
}
