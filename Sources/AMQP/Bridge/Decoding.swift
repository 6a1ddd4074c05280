import CRabbitMQ

/// Copies of what the library points to; its memory is only valid until the next frame.
extension Array where Element == UInt8 {
    /// A copy of the library's bytes.
    init(_ source: amqp_bytes_t) {
        unsafe self.init(UnsafeRawBufferPointer(start: source.bytes, count: source.bytes == nil ? 0 : source.len))
    }
}

extension String {
    /// A copy of the library's text; what isn't UTF-8 is replaced by U+FFFD.
    init(_ source: amqp_bytes_t) {
        unsafe self.init(decoding: [UInt8](source), as: UTF8.self)
    }
}

extension AMQPField {
    /// A copy of the library's table; of a name that comes twice the last value counts.
    static func entries(_ table: amqp_table_t, depth: Int = 0) -> [String: AMQPField] {
        var entries: [String: AMQPField] = [:]
        guard let base = unsafe table.entries else { return entries }
        for position in 0..<max(0, Int(unsafe table.num_entries)) {
            let entry = unsafe base[position]
            unsafe entries[String(entry.key)] = AMQPField(entry.value, depth: depth + 1)
        }
        return entries
    }

    private static func elements(_ array: amqp_array_t, depth: Int) -> [AMQPField] {
        guard let base = unsafe array.entries else { return [] }
        return (0..<max(0, Int(unsafe array.num_entries))).map { unsafe AMQPField(base[$0], depth: depth + 1) }
    }

    private init(_ field: amqp_field_value_t, depth: Int) {
        let value = unsafe field.value
        switch unsafe UInt32(field.kind) {
        case AMQP_FIELD_KIND_VOID.rawValue: self = .null
        case AMQP_FIELD_KIND_BOOLEAN.rawValue: self = unsafe .bool(value.boolean != 0)
        case AMQP_FIELD_KIND_I8.rawValue: self = unsafe .int32(Int32(value.i8))
        case AMQP_FIELD_KIND_U8.rawValue: self = unsafe .int32(Int32(value.u8))
        case AMQP_FIELD_KIND_I16.rawValue: self = unsafe .int32(Int32(value.i16))
        case AMQP_FIELD_KIND_U16.rawValue: self = unsafe .int32(Int32(value.u16))
        case AMQP_FIELD_KIND_I32.rawValue: self = unsafe .int32(value.i32)
        case AMQP_FIELD_KIND_U32.rawValue: self = unsafe .int64(Int64(value.u32))
        case AMQP_FIELD_KIND_I64.rawValue: self = unsafe .int64(value.i64)
        case AMQP_FIELD_KIND_F32.rawValue: self = unsafe .double(Double(value.f32))
        case AMQP_FIELD_KIND_F64.rawValue: self = unsafe .double(value.f64)
        case AMQP_FIELD_KIND_DECIMAL.rawValue:
            self = unsafe .decimal(scale: value.decimal.decimals, value: value.decimal.value)
        case AMQP_FIELD_KIND_TIMESTAMP.rawValue: self = unsafe .timestamp(Int64(clamping: value.u64))
        case AMQP_FIELD_KIND_UTF8.rawValue:
            let bytes = unsafe [UInt8](value.bytes)
            self = String(validating: bytes, as: UTF8.self).map { .string($0) } ?? .bytes(bytes)
        case AMQP_FIELD_KIND_BYTES.rawValue: self = unsafe .bytes([UInt8](value.bytes))
        case AMQP_FIELD_KIND_ARRAY.rawValue where depth < Self.maximumDepth:
            self = unsafe .array(Self.elements(value.array, depth: depth))
        case AMQP_FIELD_KIND_TABLE.rawValue where depth < Self.maximumDepth:
            self = unsafe .table(Self.entries(value.table, depth: depth))
        default: self = unsafe .unsupported(kind: field.kind)
        }
    }
}

/// The properties of a received message, copied.
struct ReceivedProperties {
    var contentType: String?
    var messageID: String?
    var type: String?
    var appID: String?
    var timestamp: Int64?
    var headers: [String: AMQPField] = [:]
    var isPersistent = false

    init() {}

    init(_ source: amqp_basic_properties_t) {
        let flags = unsafe Int32(bitPattern: source._flags)
        func text(_ flag: Int32, _ bytes: amqp_bytes_t) -> String? {
            flags & flag == 0 ? nil : unsafe String(bytes)
        }
        contentType = unsafe text(AMQP_BASIC_CONTENT_TYPE_FLAG, source.content_type)
        messageID = unsafe text(AMQP_BASIC_MESSAGE_ID_FLAG, source.message_id)
        type = unsafe text(AMQP_BASIC_TYPE_FLAG, source.type)
        appID = unsafe text(AMQP_BASIC_APP_ID_FLAG, source.app_id)
        timestamp = flags & AMQP_BASIC_TIMESTAMP_FLAG == 0 ? nil : unsafe Int64(clamping: source.timestamp)
        headers = flags & AMQP_BASIC_HEADERS_FLAG == 0 ? [:] : unsafe AMQPField.entries(source.headers)
        isPersistent = flags & AMQP_BASIC_DELIVERY_MODE_FLAG == 0 ? false : unsafe source.delivery_mode == 2
    }
}
