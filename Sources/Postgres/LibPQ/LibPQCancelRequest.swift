import CLibPQ
import Glibc
import Synchronization

/// One `PGcancel`: asks the server, on a connection of its own, to stop what a session runs.
// Safety: `cancel` is private and constant, and `PQcancel` only reads it (libpq documents it as safe to call from any
// thread); the reference count decides who frees it.
@safe final class LibPQCancelRequest: @unchecked Sendable {
    /// `PQcancel` blocks for as long as the server accepts but does not answer, so each request has a thread of its
    /// own; past this number of stuck ones no more are sent. The session is closed in any case.
    static let maximumInFlight = 8

    private static let inFlight = Atomic(0)

    private let cancel: OpaquePointer

    /// Takes ownership.
    init(_ cancel: OpaquePointer) {
        unsafe self.cancel = unsafe cancel
    }

    deinit {
        unsafe PQfreeCancel(cancel)
    }

    /// Sends the request from a side thread and does not wait for it; dropped when too many are stuck.
    func sendInBackground() {
        guard Self.inFlight.add(1, ordering: .relaxed).newValue <= Self.maximumInFlight else {
            Self.inFlight.subtract(1, ordering: .relaxed)
            return
        }
        var thread = pthread_t()
        let context = unsafe Unmanaged.passRetained(self)
        let code = unsafe pthread_create(&thread, nil, { unsafe LibPQCancelRequest.main($0) }, context.toOpaque())
        guard code == 0 else {
            unsafe context.release()
            Self.inFlight.subtract(1, ordering: .relaxed)
            return
        }
        pthread_detach(thread)
    }

    private static func main(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
        guard let context = unsafe context else { return nil }
        let request = unsafe Unmanaged<LibPQCancelRequest>.fromOpaque(context).takeRetainedValue()
        var reason = [CChar](repeating: 0, count: 256)
        _ = unsafe PQcancel(request.cancel, &reason, Int32(reason.count))
        inFlight.subtract(1, ordering: .relaxed)
        return nil
    }
}
