using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>An image in memory.</summary>
/// <param name="FileName">Without a path: <c>toaster.sys</c>.</param>
/// <param name="ForcesIntegrity">Whether it was linked with /INTEGRITYCHECK.</param>
public sealed record LoadedModule(string FileName, ulong Base, uint Size, ulong EntryPoint, uint CheckSum, bool ForcesIntegrity);

/// <summary>The list of images behind <c>PsLoadedModuleList</c>, which drivers walk, and find through <c>DriverSection</c>.</summary>
/// <remarks>Only images of compiled drivers: this kernel has none itself. Nothing documents the list; drivers rely on it all the same.</remarks>
public sealed class LoadedModules
{
    const uint Tag = 0x644C6D4D; // "MmLd"
    const uint EntryProcessed = 0x4000, ForceIntegrity = 0x20;

    readonly Machine machine;
    readonly Lock gate = new();
    readonly PLIST_ENTRY head;
    readonly Dictionary<ulong, PKLDR_DATA_TABLE_ENTRY> entries = [];

    internal LoadedModules(Machine machine)
    {
        this.machine = machine;
        head = new PLIST_ENTRY(machine.Variables.Define("PsLoadedModuleList", LIST_ENTRY.SizeOf, isWritable: true));
        Lists.Initialize(head);
    }

    /// <summary>Lists an image that was placed.</summary>
    public void Add(LoadedModule module)
    {
        ulong address = machine.Pool.Allocate(POOL_TYPE.NonPagedPoolNx, KLDR_DATA_TABLE_ENTRY.SizeOf, Tag, 0, zero: true);
        if (address == 0) return;
        PKLDR_DATA_TABLE_ENTRY entry = new(address);
        entry.DllBase = new PVOID(module.Base);
        entry.EntryPoint = new PVOID(module.EntryPoint);
        entry.SizeOfImage = module.Size;
        entry.FullDllName = machine.Strings.Constant($@"\SystemRoot\System32\drivers\{module.FileName}").Value;
        entry.BaseDllName = machine.Strings.Constant(module.FileName).Value;
        entry.Flags = EntryProcessed | (module.ForcesIntegrity ? ForceIntegrity : 0);
        entry.LoadCount = 1;
        entry.CheckSum = module.CheckSum;
        lock (gate)
        {
            entries[module.Base] = entry;
            Lists.InsertTail(head, new PLIST_ENTRY(address));
        }
    }

    /// <summary>Removes an image that is about to go; wherever a driver may have moved its entry.</summary>
    public void Remove(ulong address)
    {
        lock (gate)
        {
            if (!entries.Remove(address, out PKLDR_DATA_TABLE_ENTRY entry)) return;
            Lists.Remove(new PLIST_ENTRY(entry.Address));
            machine.Pool.Free(entry.Address, Tag);
        }
    }

    /// <summary>The entry of the image that begins at an address; null for none.</summary>
    internal PKLDR_DATA_TABLE_ENTRY Find(ulong address)
    {
        lock (gate) return entries.GetValueOrDefault(address);
    }

    /// <summary>Whether the image of a driver demands signed pages, or says so: drivers set the flag to be allowed what needs it.</summary>
    internal static bool ForcesIntegrity(PDRIVER_OBJECT driver) =>
        !driver.DriverSection.IsNull && (new PKLDR_DATA_TABLE_ENTRY(driver.DriverSection.Address).Flags & ForceIntegrity) != 0;
}
