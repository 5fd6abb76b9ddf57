using System.Runtime.InteropServices;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>What a driver wrote to the error log.</summary>
/// <param name="Driver">Its name.</param>
/// <param name="Device">The device's name; null when the driver object was given.</param>
/// <param name="ErrorCode">Usually an IO_ERR_* code, which has no name of its own here.</param>
/// <param name="UniqueErrorValue">Says where in the driver.</param>
/// <param name="FinalStatus">Of the request that failed.</param>
/// <param name="DumpData">The driver's own data.</param>
/// <param name="Strings">Inserted into the message.</param>
/// <param name="Packet">The other fields, as the driver filled them in.</param>
public sealed record ErrorLogEntry(
    string Driver, string? Device, NTSTATUS ErrorCode, uint UniqueErrorValue, NTSTATUS FinalStatus, IReadOnlyList<byte> DumpData,
    IReadOnlyList<string> Strings, IO_ERROR_LOG_PACKET Packet);

/// <summary>The error log: entries that drivers write for the administrator.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/logging-errors"/>
public sealed class ErrorLog
{
    const uint Tag = 0x72456F49; // "IoEr"

    readonly Machine machine;
    readonly Lock gate = new();
    readonly List<ErrorLogEntry> entries = [];

    internal ErrorLog(Machine machine) => this.machine = machine;

    /// <summary>Lies before the packet, as in Windows (ERROR_LOG_ENTRY).</summary>
    [StructLayout(LayoutKind.Explicit, Size = 0x30)]
    struct Header
    {
        internal const ulong SizeOf = 0x30;

        [FieldOffset(0x00)] internal short Type; // IO_TYPE_ERROR_LOG
        [FieldOffset(0x02)] internal ushort Size; // bytes of header and packet
        [FieldOffset(0x18)] internal PDEVICE_OBJECT DeviceObject;
        [FieldOffset(0x20)] internal PDRIVER_OBJECT DriverObject;
    }

    /// <summary>Entries that were written, oldest first.</summary>
    public IReadOnlyList<ErrorLogEntry> Entries
    {
        get { lock (gate) return [.. entries]; }
    }

    /// <summary>Allocates an entry, zeroed, for the driver to fill in. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <param name="IoObject">A device or driver object; referenced until the entry is written or freed.</param>
    /// <param name="EntrySize">Bytes of IO_ERROR_LOG_PACKET, dump data and strings, up to ERROR_LOG_MAXIMUM_SIZE.</param>
    /// <returns>NULL when the size is wrong or memory is short.</returns>
    [KernelExport(MaxIrql = DISPATCH_LEVEL, FailsWith = DdiFailure.Null)]
    public PVOID IoAllocateErrorLogEntry(PVOID IoObject, byte EntrySize, [Caller] ulong caller = 0)
    {
        if (EntrySize is < IO_ERROR_LOG_PACKET.SizeOf or > ERROR_LOG_MAXIMUM_SIZE) return default;
        short type = GuestMemory.Ref<short>(IoObject.Address);
        if (type is not (IO_TYPE_DEVICE or IO_TYPE_DRIVER)) return default;
        ulong block = machine.Pool.Allocate(POOL_TYPE.NonPagedPool, Header.SizeOf + EntrySize, Tag, caller, zero: true);
        if (block == 0) return default;
        machine.Objects.ObfReferenceObject(IoObject);
        PDEVICE_OBJECT device = type == IO_TYPE_DEVICE ? new PDEVICE_OBJECT(IoObject.Address) : default;
        GuestMemory.Ref<Header>(block) = new Header
        {
            Type = IO_TYPE_ERROR_LOG,
            Size = (ushort)(Header.SizeOf + EntrySize),
            DeviceObject = device,
            DriverObject = device.IsNull ? new PDRIVER_OBJECT(IoObject.Address) : device.DriverObject,
        };
        return new PVOID(block + Header.SizeOf);
    }

    /// <summary>Writes an entry to the log, and frees it. IRQL &lt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void IoWriteErrorLogEntry(PVOID ElEntry)
    {
        ErrorLogEntry entry = Read(ElEntry);
        lock (gate) entries.Add(entry);
        machine.Events.Emit(new ErrorLogged(entry));
        IoFreeErrorLogEntry(ElEntry);
    }

    /// <summary>Frees an entry that is not written after all. IRQL &lt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void IoFreeErrorLogEntry(PVOID ElEntry)
    {
        ulong block = ElEntry.Address - Header.SizeOf;
        Header header = GuestMemory.Ref<Header>(block);
        machine.Pool.Free(block, Tag);
        machine.Objects.ObfDereferenceObject(header.DeviceObject.IsNull ? header.DriverObject : header.DeviceObject);
    }

    ErrorLogEntry Read(PVOID entry)
    {
        Header header = GuestMemory.Ref<Header>(entry.Address - Header.SizeOf);
        IO_ERROR_LOG_PACKET packet = GuestMemory.Ref<IO_ERROR_LOG_PACKET>(entry.Address);
        ReadOnlySpan<byte> all = GuestMemory.Read(entry.Address, header.Size - (int)Header.SizeOf);
        // DumpData is declared with one element, which counts only if there is data.
        const int dumpOffset = IO_ERROR_LOG_PACKET.SizeOf - 8;
        int dumpSize = Math.Min(packet.DumpDataSize, all.Length - dumpOffset);
        return new ErrorLogEntry(
            machine.Drivers.Find(header.DriverObject)?.Name ?? "?", header.DeviceObject.IsNull ? null : machine.Objects.NameOf(header.DeviceObject),
            packet.ErrorCode, packet.UniqueErrorValue, packet.FinalStatus, all.Slice(dumpOffset, dumpSize).ToArray(),
            ReadStrings(all, packet.StringOffset, packet.NumberOfStrings), packet);
    }

    static List<string> ReadStrings(ReadOnlySpan<byte> all, int offset, int count)
    {
        List<string> strings = [];
        ReadOnlySpan<char> rest = offset < all.Length ? MemoryMarshal.Cast<byte, char>(all[offset..]) : [];
        while (strings.Count < count && rest.Length > 0)
        {
            int end = rest.IndexOf('\0');
            int length = end < 0 ? rest.Length : end;
            strings.Add(new string(rest[..length]));
            rest = rest[Math.Min(length + 1, rest.Length)..];
        }
        return strings;
    }
}
