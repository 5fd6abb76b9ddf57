using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>A variable that the kernel exports.</summary>
/// <param name="Address">Where it is; a driver's import slot holds this address.</param>
/// <param name="Size">Bytes.</param>
/// <param name="IsWritable">Whether drivers may write it; others fault with ATTEMPTED_WRITE_TO_READONLY_MEMORY.</param>
public sealed record KernelVariable(string Name, string Module, ulong Address, ulong Size, bool IsWritable);

/// <summary>
/// Variables that drivers import from the kernel, such as <c>MmUserProbeAddress</c>. Each is defined by the component whose
/// value it is; those without a component are defined here.
/// </summary>
/// <remarks>Two ranges of pages: one that drivers can only read, one that they may write. The kernel writes both.</remarks>
public sealed class KernelVariables
{
    const ulong RangeSize = 4 * GuestMemory.PageSize;

    readonly Machine machine;
    readonly Lock gate = new();
    // Read without a lock: a compiled driver that is being loaded, and C# drivers at any time.
    readonly ConcurrentDictionary<string, KernelVariable> variables = new(StringComparer.Ordinal);
    readonly ulong readOnlyStart, writableStart;
    ulong readOnlyUsed, writableUsed;

    internal KernelVariables(Machine machine)
    {
        this.machine = machine;
        readOnlyStart = machine.Memory.KernelData.Allocate(RangeSize, PageAccess.Read);
        writableStart = machine.Memory.KernelData.Allocate(RangeSize, PageAccess.ReadWrite);
        // A normal start of a free build: no safe mode, no debugging flags.
        DefineValue("InitSafeBootMode", 0u);
        DefineValue("NtGlobalFlag", 0u);
        DefineHalDispatchTable();
    }

    /// <summary>All variables, by name.</summary>
    public IReadOnlyList<KernelVariable> All => [.. variables.Values.OrderBy(v => v.Name, StringComparer.Ordinal)];

    /// <summary>Makes room for a variable, zeroed and aligned to 16 bytes.</summary>
    /// <param name="name">As exported.</param>
    /// <param name="size">Bytes.</param>
    /// <param name="module">The module that exports it.</param>
    /// <param name="isWritable">Whether drivers may write it.</param>
    /// <returns>Its address.</returns>
    /// <exception cref="InvalidOperationException">The name is taken, or all room is.</exception>
    public ulong Define(string name, ulong size, string module = "ntoskrnl.exe", bool isWritable = false)
    {
        ulong address = Room(size, isWritable);
        if (KernelExports.Find(name) is not null || !variables.TryAdd(name, new KernelVariable(name, module, address, size, isWritable)))
            throw new InvalidOperationException($"The kernel exports {name} already.");
        return address;
    }

    /// <summary>Makes a variable with a value.</summary>
    /// <inheritdoc cref="Define(string, ulong, string, bool)"/>
    public ulong DefineValue<T>(string name, T value, string module = "ntoskrnl.exe", bool isWritable = false) where T : unmanaged
    {
        ulong address = Define(name, (ulong)Unsafe.SizeOf<T>(), module, isWritable);
        GuestMemory.Ref<T>(address) = value;
        return address;
    }

    /// <summary>Makes room next to the variables for what one of them points to.</summary>
    /// <inheritdoc cref="Define(string, ulong, string, bool)"/>
    public ulong Room(ulong size, bool isWritable = false)
    {
        lock (gate)
        {
            ref ulong used = ref isWritable ? ref writableUsed : ref readOnlyUsed;
            if (size > RangeSize - used) throw new InvalidOperationException($"No room for {size} bytes: kernel variables have {RangeSize} bytes.");
            ulong address = (isWritable ? writableStart : readOnlyStart) + used;
            used += (size + 15) & ~15UL;
            return address;
        }
    }

    /// <summary>The variable of that exact name, in whatever kernel module.</summary>
    public KernelVariable? Find(string name) => variables.GetValueOrDefault(name);

    /// <summary>The address of a variable.</summary>
    public bool TryFind(string name, out ulong address)
    {
        address = Find(name)?.Address ?? 0;
        return address != 0;
    }

    /// <summary>The value of a variable, for C# drivers.</summary>
    internal ref T Value<T>(string name) where T : unmanaged => ref GuestMemory.Ref<T>(variables[name].Address);

    /// <summary>
    /// HAL_DISPATCH of ntddk.h, version 4: what the HAL offers the kernel by pointer. Each entry can be called and stops the
    /// machine by name.
    /// </summary>
    void DefineHalDispatchTable()
    {
        const int Version = 4;
        ReadOnlySpan<string?> entries =
        [
            "HalQuerySystemInformation", "HalSetSystemInformation", "HalQueryBusSlots", null, "HalExamineMBR", "HalIoReadPartitionTable",
            "HalIoSetPartitionInformation", "HalIoWritePartitionTable", "HalReferenceHandlerForBus", "HalReferenceBusHandler",
            "HalDereferenceBusHandler", "HalInitPnpDriver", "HalInitPowerManagement", "HalGetDmaAdapter", "HalGetInterruptTranslator",
            "HalStartMirroring", "HalEndMirroring", "HalMirrorPhysicalMemory", "HalEndOfBoot", "HalMirrorVerify", "HalGetCachedAcpiTable",
            "HalSetPciErrorHandlerCallback",
        ];
        ulong table = Define("HalDispatchTable", 8 + 8 * (ulong)entries.Length, isWritable: true);
        GuestMemory.Ref<uint>(table) = Version;
        for (int i = 0; i < entries.Length; i++)
            if (entries[i] is { } entry) GuestMemory.Ref<ulong>(table + 8 + 8 * (ulong)i) = Unsupported($"HalDispatchTable.{entry}");
    }

    /// <summary>The address of a routine that can be called and stops the machine by name.</summary>
    internal ulong Unsupported(string name) => machine.Code.Register(new DRIVER_UNLOAD(_ =>
        throw machine.BugChecks.StopUnsupported($"A driver called {name}, which this version does not have.")));
}
