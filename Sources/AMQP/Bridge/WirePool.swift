import CRabbitMQ
import Glibc

/// Memory for one call of the library: what Swift values look like to C lives here until ``recycle()``.
@safe struct WirePool: ~Copyable {
    private var pool = unsafe amqp_pool_t()

    init() {
        unsafe init_amqp_pool(&pool, 16 * 1_024)
    }

    deinit {
        // A copy of the struct's few pointers; the memory behind them is freed here and nowhere else.
        var pool = unsafe self.pool
        unsafe empty_amqp_pool(&pool)
    }

    /// Makes everything that was handed out invalid, and the memory free for the next call.
    mutating func recycle() {
        unsafe recycle_amqp_pool(&pool)
    }

    /// The bytes of a text.
    mutating func bytes(_ text: String) -> amqp_bytes_t {
        unsafe bytes(Array(text.utf8))
    }

    /// A copy of some bytes.
    mutating func bytes(_ source: [UInt8]) -> amqp_bytes_t {
        guard !source.isEmpty, let memory = unsafe amqp_pool_alloc(&pool, source.count) else {
            return unsafe amqp_bytes_t(len: 0, bytes: nil)
        }
        unsafe UnsafeMutableRawBufferPointer(start: memory, count: source.count).copyBytes(from: source)
        return unsafe amqp_bytes_t(len: source.count, bytes: memory)
    }

    /// A table; what can't be sent is void, see `AMQPField.encodedSize(of:)`.
    mutating func table(_ entries: [String: AMQPField]) -> amqp_table_t {
        let stride = unsafe MemoryLayout<amqp_table_entry_t>.stride
        guard !entries.isEmpty, let memory = unsafe amqp_pool_alloc(&pool, entries.count * stride) else {
            return unsafe amqp_table_t(num_entries: 0, entries: nil)
        }
        let base = unsafe memory.bindMemory(to: amqp_table_entry_t.self, capacity: entries.count)
        for (position, (key, value)) in entries.enumerated() {
            let entry = unsafe amqp_table_entry_t(key: bytes(key), value: field(value))
            unsafe (base + position).initialize(to: entry)
        }
        return unsafe amqp_table_t(num_entries: Int32(clamping: entries.count), entries: base)
    }

    private mutating func array(_ elements: [AMQPField]) -> amqp_array_t {
        let stride = unsafe MemoryLayout<amqp_field_value_t>.stride
        guard !elements.isEmpty, let memory = unsafe amqp_pool_alloc(&pool, elements.count * stride) else {
            return unsafe amqp_array_t(num_entries: 0, entries: nil)
        }
        let base = unsafe memory.bindMemory(to: amqp_field_value_t.self, capacity: elements.count)
        for (position, element) in elements.enumerated() {
            let value = unsafe field(element)
            unsafe (base + position).initialize(to: value)
        }
        return unsafe amqp_array_t(num_entries: Int32(clamping: elements.count), entries: base)
    }

    private mutating func field(_ value: AMQPField) -> amqp_field_value_t {
        var field = unsafe amqp_field_value_t()
        unsafe field.kind = value.wireKind
        switch value {
        case .null, .unsupported: break
        case .bool(let flag): unsafe field.value.boolean = flag ? 1 : 0
        case .int32(let number): unsafe field.value.i32 = number
        case .int64(let number): unsafe field.value.i64 = number
        case .double(let number): unsafe field.value.f64 = number
        case .decimal(let scale, let number):
            unsafe field.value.decimal = amqp_decimal_t(decimals: scale, value: number)
        case .string(let text): unsafe field.value.bytes = bytes(text)
        case .bytes(let source): unsafe field.value.bytes = bytes(source)
        case .timestamp(let seconds): unsafe field.value.u64 = UInt64(clamping: seconds)
        case .array(let elements): unsafe field.value.array = array(elements)
        case .table(let entries): unsafe field.value.table = table(entries)
        }
        return unsafe field
    }
}

extension AMQPField {
    /// The letter that stands for the kind on the wire.
    fileprivate var wireKind: UInt8 {
        switch self {
        case .null, .unsupported: UInt8(AMQP_FIELD_KIND_VOID.rawValue)
        case .bool: UInt8(AMQP_FIELD_KIND_BOOLEAN.rawValue)
        case .int32: UInt8(AMQP_FIELD_KIND_I32.rawValue)
        case .int64: UInt8(AMQP_FIELD_KIND_I64.rawValue)
        case .double: UInt8(AMQP_FIELD_KIND_F64.rawValue)
        case .decimal: UInt8(AMQP_FIELD_KIND_DECIMAL.rawValue)
        case .string: UInt8(AMQP_FIELD_KIND_UTF8.rawValue)
        case .bytes: UInt8(AMQP_FIELD_KIND_BYTES.rawValue)
        case .timestamp: UInt8(AMQP_FIELD_KIND_TIMESTAMP.rawValue)
        case .array: UInt8(AMQP_FIELD_KIND_ARRAY.rawValue)
        case .table: UInt8(AMQP_FIELD_KIND_TABLE.rawValue)
        }
    }
}
