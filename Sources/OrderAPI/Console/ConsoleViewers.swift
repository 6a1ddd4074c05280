import NIOCore
import Synchronization

/// Those who watch the console live. What one sampler finds goes to all of them; who cannot keep up misses some of it,
/// and who does not read at all is cut off.
final class ConsoleViewers: Sendable {
    /// The most at once.
    static let maximum = 32
    /// Messages that wait for a viewer at most; the oldest is dropped, since a newer one says all that it said.
    private static let buffered = 2
    /// Messages in a row that a viewer may miss.
    private static let patience = 15

    private struct Viewer {
        let messages: AsyncStream<ByteBuffer>.Continuation
        let channel: any Channel
        var missed = 0
    }

    private struct State {
        var viewers: [Int: Viewer] = [:]
        var lastID = 0
    }

    private let state = Mutex(State())

    /// Takes one more; nil when there are too many already.
    func join(on channel: any Channel) -> (id: Int, messages: AsyncStream<ByteBuffer>)? {
        state.withLock { state in
            guard state.viewers.count < Self.maximum else { return nil }
            let (stream, messages) = AsyncStream.makeStream(
                of: ByteBuffer.self,
                bufferingPolicy: .bufferingNewest(Self.buffered)
            )
            state.lastID += 1
            state.viewers[state.lastID] = Viewer(messages: messages, channel: channel)
            return (state.lastID, stream)
        }
    }

    func leave(_ id: Int) {
        state.withLock { _ = $0.viewers.removeValue(forKey: id) }
    }

    /// How many there are.
    var count: Int { state.withLock { $0.viewers.count } }

    /// Sends a message to all.
    func send(_ message: ByteBuffer) {
        let cutOff = state.withLock { state in
            var channels: [any Channel] = []
            for (id, var viewer) in state.viewers {
                if case .dropped = viewer.messages.yield(message) { viewer.missed += 1 } else { viewer.missed = 0 }
                state.viewers[id] = viewer
                guard viewer.missed > Self.patience else { continue }
                viewer.messages.finish()
                state.viewers[id] = nil
                channels.append(viewer.channel)
            }
            return channels
        }
        for channel in cutOff { channel.close(promise: nil) }
    }
}
