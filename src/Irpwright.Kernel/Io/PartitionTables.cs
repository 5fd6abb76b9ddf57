using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Reads the partition tables of disks for their drivers, through the disk's own device object.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/ntddk/nf-ntddk-ioreadpartitiontableex"/>
public sealed class PartitionTables
{
    const uint Tag = 0x61507346; // "FsPa"
    const int EntriesOffset = 0x1BE, EntrySize = 16, EntriesPerTable = 4, SignatureOffset = 0x1B8;
    const ushort TableSignature = 0xAA55;
    // As many as a drive has letters and then some: a chain of tables that is longer is damaged.
    const int MaximumTables = 128;
    const ulong GptSignature = 0x5452_4150_2049_4645; // "EFI PART"
    const int GptHeaderSize = 92, GptEntrySize = 128, MaximumGptEntries = 1024;

    readonly Machine machine;

    internal PartitionTables(Machine machine) => this.machine = machine;

    /// <param name="HiddenSectors">From the table that the entry is in to where it begins.</param>
    readonly record struct Entry(byte Type, bool IsBootable, uint HiddenSectors, long Start, long Length)
    {
        internal bool IsContainer => Type is PARTITION_EXTENDED or PARTITION_XINT13_EXTENDED;

        /// <summary>Whether it is of a type that file systems of Windows may be on.</summary>
        internal bool IsRecognized
        {
            get
            {
                bool isOfSet = (Type & PARTITION_NTFT) != 0;
                return (isOfSet ? (byte)(Type & ~0xC0) : Type) switch
                {
                    PARTITION_FAT_12 or PARTITION_IFS or PARTITION_HUGE or PARTITION_FAT32 or PARTITION_FAT32_XINT13 or PARTITION_XINT13 => true,
                    PARTITION_FAT_16 => !isOfSet,
                    _ => false,
                };
            }
        }
    }

    /// <summary>Reads the partitions of a disk with a master boot record or a GUID partition table. IRQL = PASSIVE_LEVEL.</summary>
    /// <param name="DriveLayout">Receives a DRIVE_LAYOUT_INFORMATION_EX in nonpaged pool, which the caller frees with ExFreePool; null on failure.</param>
    /// <returns>What the disk answered when it could not be read; STATUS_DISK_CORRUPT_ERROR; STATUS_INSUFFICIENT_RESOURCES.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS IoReadPartitionTableEx(PDEVICE_OBJECT DeviceObject, out PVOID DriveLayout, [Caller] ulong caller = 0)
    {
        DriveLayout = default;
        NTSTATUS status = ReadSectorSize(DeviceObject, out uint sectorSize);
        if (status < 0) return status;
        var first = new byte[sectorSize];
        status = Read(DeviceObject, 0, first);
        if (status < 0) return status;
        if (!IsTable(first)) return Answer(PARTITION_STYLE.PARTITION_STYLE_RAW, default, [], caller, out DriveLayout);
        if (EntriesOf(first, 0, 0, sectorSize).Any(e => e.Type == PARTITION_GPT)) return ReadGpt(DeviceObject, sectorSize, caller, out DriveLayout);
        status = ReadChain(DeviceObject, sectorSize, first, out List<Entry> entries);
        if (status < 0) return status;
        var disk = new DRIVE_LAYOUT_INFORMATION_EX { Mbr = new() { Signature = SignatureOf(first) } };
        uint number = 0;
        return Answer(PARTITION_STYLE.PARTITION_STYLE_MBR, disk, [.. entries.Select(e => new PARTITION_INFORMATION_EX
        {
            PartitionStyle = PARTITION_STYLE.PARTITION_STYLE_MBR,
            StartingOffset = e.Start,
            PartitionLength = e.Length,
            PartitionNumber = Numbered(e, ref number),
            Mbr = new() { PartitionType = e.Type, BootIndicator = e.IsBootable, RecognizedPartition = e.IsRecognized, HiddenSectors = e.HiddenSectors },
        })], caller, out DriveLayout);
    }

    /// <summary>Reads the partitions of a disk with a master boot record; obsolete. IRQL = PASSIVE_LEVEL.</summary>
    /// <param name="ReturnRecognizedPartitions">TRUE: only partitions of known types; FALSE: all entries of all tables.</param>
    /// <param name="PartitionBuffer">Receives a DRIVE_LAYOUT_INFORMATION in nonpaged pool, which the caller frees with ExFreePool; null on failure.</param>
    /// <inheritdoc cref="IoReadPartitionTableEx"/>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS IoReadPartitionTable(PDEVICE_OBJECT DeviceObject, uint SectorSize, BOOLEAN ReturnRecognizedPartitions, out PVOID PartitionBuffer,
        [Caller] ulong caller = 0)
    {
        PartitionBuffer = default;
        uint sectorSize = Math.Max(SectorSize, 512);
        var first = new byte[sectorSize];
        NTSTATUS status = Read(DeviceObject, 0, first);
        if (status < 0) return status;
        List<Entry> entries = [];
        if (IsTable(first))
        {
            status = ReadChain(DeviceObject, sectorSize, first, out entries);
            if (status < 0) return status;
        }
        if (ReturnRecognizedPartitions) entries.RemoveAll(e => !e.IsRecognized);
        uint number = 0;
        var header = new DRIVE_LAYOUT_INFORMATION { PartitionCount = (uint)entries.Count, Signature = SignatureOf(first) };
        return Store(header, 8, [.. entries.Select(e => new PARTITION_INFORMATION
        {
            StartingOffset = e.Start, PartitionLength = e.Length, HiddenSectors = e.HiddenSectors, PartitionNumber = Numbered(e, ref number),
            PartitionType = e.Type, BootIndicator = e.IsBootable, RecognizedPartition = e.IsRecognized,
        })], caller, out PartitionBuffer);
    }

    static uint Numbered(Entry entry, ref uint number) => entry.Type == PARTITION_ENTRY_UNUSED || entry.IsContainer ? 0 : ++number;

    // ---- Master boot records

    static bool IsTable(ReadOnlySpan<byte> sector) => BinaryPrimitives.ReadUInt16LittleEndian(sector[0x1FE..]) == TableSignature;

    static uint SignatureOf(ReadOnlySpan<byte> sector) => BinaryPrimitives.ReadUInt32LittleEndian(sector[SignatureOffset..]);

    /// <param name="table">Where the table is, bytes.</param>
    /// <param name="container">Where the outermost extended partition begins: tables in it are counted from there. 0 outside.</param>
    static List<Entry> EntriesOf(ReadOnlySpan<byte> sector, long table, long container, uint sectorSize)
    {
        List<Entry> entries = [];
        for (int i = 0; i < EntriesPerTable; i++)
        {
            ReadOnlySpan<byte> raw = sector.Slice(EntriesOffset + i * EntrySize, EntrySize);
            uint start = BinaryPrimitives.ReadUInt32LittleEndian(raw[8..]), count = BinaryPrimitives.ReadUInt32LittleEndian(raw[12..]);
            var entry = new Entry(raw[4], raw[0] == 0x80, start, start * (long)sectorSize, count * (long)sectorSize);
            if (entry.Type == PARTITION_ENTRY_UNUSED) entries.Add(default);
            else entries.Add(entry with { Start = entry.Start + (entry.IsContainer && table != 0 ? container : table) });
        }
        return entries;
    }

    /// <summary>The entries of the master boot record, and of the tables in extended partitions, each of which leads to the next.</summary>
    NTSTATUS ReadChain(PDEVICE_OBJECT device, uint sectorSize, byte[] first, out List<Entry> entries)
    {
        entries = [];
        byte[] sector = [.. first];
        long table = 0, container = 0;
        for (int tables = 0; tables < MaximumTables; tables++)
        {
            List<Entry> found = EntriesOf(sector, table, container, sectorSize);
            entries.AddRange(found);
            if (found.Find(e => e.IsContainer) is not { Length: > 0 } next) return NTSTATUS.STATUS_SUCCESS;
            table = next.Start;
            if (container == 0) container = table;
            NTSTATUS status = Read(device, table, sector);
            if (status < 0) return status;
            if (!IsTable(sector)) return NTSTATUS.STATUS_SUCCESS;
        }
        return NTSTATUS.STATUS_DISK_CORRUPT_ERROR;
    }

    // ---- GUID partition tables

    NTSTATUS ReadGpt(PDEVICE_OBJECT device, uint sectorSize, ulong caller, out PVOID layout)
    {
        layout = default;
        NTSTATUS status = ReadGptAt(device, sectorSize, 1, out byte[] header, out byte[] entries);
        if (status == NTSTATUS.STATUS_DISK_CORRUPT_ERROR && LengthOf(device) is { } length)
            status = ReadGptAt(device, sectorSize, length / sectorSize - 1, out header, out entries);
        if (status < 0) return status;
        long firstUsable = (long)At(header, 0x28), lastUsable = (long)At(header, 0x30);
        int entrySize = (int)(At(header, 0x50) >> 32);
        var disk = new DRIVE_LAYOUT_INFORMATION_EX
        {
            Gpt = new()
            {
                DiskId = new Guid(header.AsSpan(0x38, 16)),
                StartingUsableOffset = firstUsable * sectorSize,
                UsableLength = (lastUsable + 1 - firstUsable) * sectorSize,
                MaxPartitionCount = (uint)At(header, 0x50),
            },
        };
        List<PARTITION_INFORMATION_EX> found = [];
        for (int at = 0; at < entries.Length; at += entrySize)
        {
            var type = new Guid(entries.AsSpan(at, 16));
            if (type == Guid.Empty) continue;
            long first = (long)At(entries, at + 0x20), last = (long)At(entries, at + 0x28);
            var entry = new PARTITION_INFORMATION_EX
            {
                PartitionStyle = PARTITION_STYLE.PARTITION_STYLE_GPT,
                StartingOffset = first * sectorSize,
                PartitionLength = (last + 1 - first) * sectorSize,
                PartitionNumber = (uint)found.Count + 1,
                Gpt = new() { PartitionType = type, PartitionId = new Guid(entries.AsSpan(at + 0x10, 16)), Attributes = At(entries, at + 0x30) },
            };
            MemoryMarshal.Cast<byte, char>(entries.AsSpan(at + 0x38, 72)).CopyTo(entry.Gpt.Name);
            found.Add(entry);
        }
        return Answer(PARTITION_STYLE.PARTITION_STYLE_GPT, disk, [.. found], caller, out layout);
    }

    static ulong At(byte[] data, int offset) => BinaryPrimitives.ReadUInt64LittleEndian(data.AsSpan(offset));

    NTSTATUS ReadGptAt(PDEVICE_OBJECT device, uint sectorSize, long sector, out byte[] header, out byte[] entries)
    {
        header = new byte[sectorSize];
        entries = [];
        NTSTATUS status = Read(device, sector * sectorSize, header);
        if (status < 0) return status;
        uint size = (uint)At(header, 0x0C);
        if (At(header, 0) != GptSignature || size < GptHeaderSize || size > sectorSize || (long)At(header, 0x18) != sector) return NTSTATUS.STATUS_DISK_CORRUPT_ERROR;
        var check = header.AsSpan(0, (int)size).ToArray();
        check.AsSpan(0x10, 4).Clear();
        uint count = (uint)At(header, 0x50), entrySize = (uint)(At(header, 0x50) >> 32);
        if (Crc32(check) != (uint)At(header, 0x10) || count > MaximumGptEntries || entrySize < GptEntrySize || entrySize > 0x1000 || entrySize % GptEntrySize != 0)
            return NTSTATUS.STATUS_DISK_CORRUPT_ERROR;
        uint bytes = count * entrySize;
        entries = new byte[(bytes + sectorSize - 1) / sectorSize * sectorSize];
        status = Read(device, (long)At(header, 0x48) * sectorSize, entries);
        if (status < 0) return status;
        entries = entries[..(int)bytes];
        return Crc32(entries) == (uint)At(header, 0x58) ? NTSTATUS.STATUS_SUCCESS : NTSTATUS.STATUS_DISK_CORRUPT_ERROR;
    }

    static uint Crc32(ReadOnlySpan<byte> data)
    {
        const uint polynomial = 0xEDB8_8320;
        uint crc = uint.MaxValue;
        foreach (byte b in data)
        {
            crc ^= b;
            for (int i = 0; i < 8; i++) crc = (crc >> 1) ^ ((crc & 1) * polynomial);
        }
        return ~crc;
    }

    // ---- The disk

    NTSTATUS ReadSectorSize(PDEVICE_OBJECT device, out uint sectorSize)
    {
        NTSTATUS status = Ask(device, IOCTL_DISK_GET_DRIVE_GEOMETRY, out DISK_GEOMETRY geometry);
        sectorSize = geometry.BytesPerSector;
        if (status < 0) return status;
        bool isOne = sectorSize is >= 512 and <= 0x1_0000 && (sectorSize & (sectorSize - 1)) == 0;
        return isOne ? NTSTATUS.STATUS_SUCCESS : NTSTATUS.STATUS_DEVICE_NOT_READY;
    }

    long? LengthOf(PDEVICE_OBJECT device) =>
        Ask(device, IOCTL_DISK_GET_LENGTH_INFO, out GET_LENGTH_INFORMATION length) >= 0 && length.Length > 0 ? length.Length : null;

    NTSTATUS Ask<T>(PDEVICE_OBJECT device, uint code, out T answer) where T : unmanaged
    {
        answer = default;
        uint size = (uint)System.Runtime.CompilerServices.Unsafe.SizeOf<T>();
        var buffer = new PVOID(machine.Pool.Allocate(POOL_TYPE.NonPagedPoolNx, size, Tag, 0, zero: true));
        if (buffer.IsNull) return NTSTATUS.STATUS_INSUFFICIENT_RESOURCES;
        NTSTATUS status = NTSTATUS.STATUS_INSUFFICIENT_RESOURCES;
        using (var block = new RequestBlock(machine))
        {
            PIRP irp = machine.Builders.IoBuildDeviceIoControlRequest(code, device, default, 0, buffer, size, false, block.Event, block.Iosb);
            if (!irp.IsNull) status = block.Send(irp, device);
        }
        if (status >= 0) answer = GuestMemory.Ref<T>(buffer.Address);
        machine.Pool.Free(buffer.Address, Tag);
        return status;
    }

    NTSTATUS Read(PDEVICE_OBJECT device, long offset, Span<byte> data)
    {
        if (offset < 0) return NTSTATUS.STATUS_DISK_CORRUPT_ERROR;
        var buffer = new PVOID(machine.Pool.Allocate(POOL_TYPE.NonPagedPoolNx, (ulong)data.Length, Tag, 0, zero: true));
        if (buffer.IsNull) return NTSTATUS.STATUS_INSUFFICIENT_RESOURCES;
        NTSTATUS status = NTSTATUS.STATUS_INSUFFICIENT_RESOURCES;
        using (var block = new RequestBlock(machine))
        {
            PIRP irp = machine.Builders.IoBuildSynchronousFsdRequest(IRP_MJ_READ, device, buffer, (uint)data.Length, offset, block.Event, block.Iosb);
            if (!irp.IsNull) status = block.Send(irp, device);
        }
        if (status >= 0) GuestMemory.Read(buffer.Address, data.Length).CopyTo(data);
        machine.Pool.Free(buffer.Address, Tag);
        return status;
    }

    NTSTATUS Answer(PARTITION_STYLE style, DRIVE_LAYOUT_INFORMATION_EX disk, PARTITION_INFORMATION_EX[] entries, ulong caller, out PVOID layout)
    {
        disk.PartitionStyle = style;
        disk.PartitionCount = (uint)entries.Length;
        return Store(disk, 0x30, entries, caller, out layout);
    }

    /// <summary>Puts a structure whose array begins at an offset into nonpaged pool.</summary>
    NTSTATUS Store<THeader, TEntry>(THeader header, ulong arrayOffset, TEntry[] entries, ulong caller, out PVOID result) where THeader : unmanaged where TEntry : unmanaged
    {
        ulong entrySize = (ulong)System.Runtime.CompilerServices.Unsafe.SizeOf<TEntry>();
        ulong address = machine.Pool.Allocate(POOL_TYPE.NonPagedPoolNx, arrayOffset + entrySize * (ulong)Math.Max(1, entries.Length), Tag, caller, zero: true);
        result = new PVOID(address);
        if (address == 0) return NTSTATUS.STATUS_INSUFFICIENT_RESOURCES;
        GuestMemory.Ref<THeader>(address) = header;
        for (int i = 0; i < entries.Length; i++) GuestMemory.Ref<TEntry>(address + arrayOffset + entrySize * (ulong)i) = entries[i];
        return NTSTATUS.STATUS_SUCCESS;
    }
}
