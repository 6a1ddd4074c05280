import CRabbitMQ

/// The library's three ways to report failure, as errors.
extension Link {
    /// The library's words for one of its status codes.
    static func text(_ status: Int32) -> String {
        guard let text = unsafe amqp_error_string2(status) else { return "status \(status)" }
        return unsafe String(cString: text)
    }

    /// Throws unless the status says success.
    func check(_ status: Int32) throws(AMQPError) {
        switch status {
        case AMQP_STATUS_OK.rawValue: return
        case AMQP_STATUS_TIMEOUT.rawValue: throw AMQPError(.timedOut, "the broker didn't answer in time")
        default: throw AMQPError(.connectionLost, Self.text(status))
        }
    }

    /// Throws unless the broker has answered a request as hoped.
    func check(_ reply: amqp_rpc_reply_t) throws(AMQPError) {
        switch unsafe reply.reply_type {
        case AMQP_RESPONSE_NORMAL: return
        case AMQP_RESPONSE_LIBRARY_EXCEPTION: try unsafe check(reply.library_error)
        case AMQP_RESPONSE_SERVER_EXCEPTION: throw unsafe acceptClose(reply.reply)
        default: break
        }
        throw AMQPError(.connectionLost, "the connection ended")
    }

    /// Answers the broker's closing of the channel or the connection; returns its reason.
    func acceptClose(_ method: amqp_method_t) -> AMQPError {
        guard let decoded = unsafe method.decoded else { return AMQPError(.connectionLost, "the connection ended") }
        switch unsafe method.id {
        case jumun_channel_close:
            let close = unsafe decoded.assumingMemoryBound(to: amqp_channel_close_t.self).pointee
            let error = unsafe AMQPError(.channelClosed(Int(close.reply_code)), String(close.reply_text))
            var answer = amqp_channel_close_ok_t()
            unsafe _ = amqp_send_method(state, Self.channel, jumun_channel_close_ok, &answer)
            return error
        case jumun_connection_close:
            let close = unsafe decoded.assumingMemoryBound(to: amqp_connection_close_t.self).pointee
            let error = unsafe AMQPError(.connectionClosed(Int(close.reply_code)), String(close.reply_text))
            var answer = amqp_connection_close_ok_t()
            unsafe _ = amqp_send_method(state, 0, jumun_connection_close_ok, &answer)
            return error
        default: return unsafe AMQPError(.connectionLost, "unexpected method \(method.id)")
        }
    }
}
