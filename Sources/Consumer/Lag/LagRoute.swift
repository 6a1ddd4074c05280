import HTTPTypes
import Hummingbird
import NIOCore

/// `GET /lag`: where events are between commit and platform.
struct LagRoute: Sendable {
    let monitor: LagMonitor

    func add(to router: Router<BasicRequestContext>) {
        router.get("/lag") { [monitor] _, _ in
            Response(
                status: .ok,
                headers: [.contentType: "application/json", .cacheControl: "no-store"],
                body: ResponseBody(byteBuffer: ByteBuffer(bytes: try monitor.report.json()))
            )
        }
    }
}
