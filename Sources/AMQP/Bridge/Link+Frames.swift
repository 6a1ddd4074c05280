import CRabbitMQ
import Glibc

/// Something that the broker has told on its own.
enum LinkEvent {
    case acknowledged(tag: UInt64, multiple: Bool)
    case refused(tag: UInt64, multiple: Bool)
    case returned(ConfirmWindow.Identity, code: Int, reason: String)
    case delivered(IncomingContent)
    /// The broker has stopped the consumer by itself.
    case consumerCancelled
    /// The broker has stopped the consumer as it was asked to.
    case cancelAccepted
    case blocked(reason: String)
    case unblocked
}

/// A message that comes in: a method, then a header frame, then body frames until the body is complete.
struct IncomingContent {
    enum Origin {
        case delivery(tag: UInt64, redelivered: Bool)
        case returned(code: Int, reason: String)
    }

    let origin: Origin
    let exchange: String
    let routingKey: String
    var properties = ReceivedProperties()
    var body: [UInt8] = []
    /// Bytes of the body that are still to come; `nil` until the header frame is here.
    var missing: UInt64?
}

extension Link {
    /// Reads frames until one completes an event; `nil` when there is nothing more to read.
    ///
    /// Heartbeats are sent and checked only in here, so call it at least every `AMQPConfiguration.tick`. It waits a
    /// millisecond when nothing comes, and longer when a heartbeat is due and the socket is full, see ``CallGuard``.
    /// Throws why the connection or the channel has ended.
    func nextEvent() throws(AMQPError) -> LinkEvent? {
        while true {
            // Everything read so far has been copied, so the library may have its memory back.
            unsafe amqp_maybe_release_buffers(state)
            var frame = unsafe amqp_frame_t()
            // Not zero: that would mean "wait for ever" in some of the library's paths.
            var patience = timeval(tv_sec: 0, tv_usec: 1_000)
            let status = unsafe amqp_simple_wait_frame_noblock(state, &frame, &patience)
            if status == AMQP_STATUS_TIMEOUT.rawValue { return nil }
            try check(status)
            if let event = try unsafe accept(frame) { return event }
            guard readiness().isReadable else { return nil }
        }
    }

    private func accept(_ frame: amqp_frame_t) throws(AMQPError) -> LinkEvent? {
        switch unsafe Int32(frame.frame_type) {
        case AMQP_FRAME_METHOD: return try unsafe accept(frame.payload.method)
        case AMQP_FRAME_HEADER:
            guard var content = incoming else { throw AMQPError(.connectionLost, "a header without its method") }
            if let decoded = unsafe frame.payload.properties.decoded {
                let properties = unsafe decoded.assumingMemoryBound(to: amqp_basic_properties_t.self)
                content.properties = unsafe ReceivedProperties(properties.pointee)
            }
            content.missing = unsafe frame.payload.properties.body_size
            incoming = content
            return finishIncoming()
        case AMQP_FRAME_BODY:
            let fragment = unsafe frame.payload.body_fragment
            guard let missing = incoming?.missing, unsafe UInt64(fragment.len) <= missing else {
                throw AMQPError(.connectionLost, "a body without its header")
            }
            unsafe incoming?.body.append(contentsOf: [UInt8](fragment))
            incoming?.missing = unsafe missing - UInt64(fragment.len)
            return finishIncoming()
        default: return nil
        }
    }

    /// The event of the message that comes in, once it is complete.
    private func finishIncoming() -> LinkEvent? {
        guard let content = incoming, content.missing == 0 else { return nil }
        incoming = nil
        switch content.origin {
        case .delivery: return .delivered(content)
        case .returned(let code, let reason):
            let identity = ConfirmWindow.Identity(
                exchange: content.exchange,
                routingKey: content.routingKey,
                messageID: content.properties.messageID
            )
            return .returned(identity, code: code, reason: reason)
        }
    }

    private func accept(_ method: amqp_method_t) throws(AMQPError) -> LinkEvent? {
        guard let decoded = unsafe method.decoded else { return nil }
        switch unsafe method.id {
        case jumun_basic_ack:
            let ack = unsafe decoded.assumingMemoryBound(to: amqp_basic_ack_t.self).pointee
            return .acknowledged(tag: ack.delivery_tag, multiple: ack.multiple != 0)
        case jumun_basic_nack:
            let nack = unsafe decoded.assumingMemoryBound(to: amqp_basic_nack_t.self).pointee
            return .refused(tag: nack.delivery_tag, multiple: nack.multiple != 0)
        case jumun_basic_return:
            let method = unsafe decoded.assumingMemoryBound(to: amqp_basic_return_t.self).pointee
            incoming = unsafe IncomingContent(
                origin: .returned(code: Int(method.reply_code), reason: String(method.reply_text)),
                exchange: String(method.exchange),
                routingKey: String(method.routing_key)
            )
            return nil
        case jumun_basic_deliver:
            let method = unsafe decoded.assumingMemoryBound(to: amqp_basic_deliver_t.self).pointee
            incoming = unsafe IncomingContent(
                origin: .delivery(tag: method.delivery_tag, redelivered: method.redelivered != 0),
                exchange: String(method.exchange),
                routingKey: String(method.routing_key)
            )
            return nil
        case jumun_basic_cancel: return .consumerCancelled
        case jumun_basic_cancel_ok: return .cancelAccepted
        case jumun_connection_blocked:
            let method = unsafe decoded.assumingMemoryBound(to: amqp_connection_blocked_t.self).pointee
            return unsafe .blocked(reason: String(method.reason))
        case jumun_connection_unblocked: return .unblocked
        case jumun_channel_close, jumun_connection_close: throw unsafe acceptClose(method)
        default: return nil
        }
    }
}
