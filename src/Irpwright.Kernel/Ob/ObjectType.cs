using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>What the generic access rights stand for with objects of one type (GENERIC_MAPPING).</summary>
public readonly record struct GenericMapping(uint Read, uint Write, uint Execute, uint All)
{
    /// <summary>The rights that a handle gets for what was asked for.</summary>
    internal uint Map(uint access)
    {
        uint granted = access & ~(GENERIC_READ | GENERIC_WRITE | GENERIC_EXECUTE | GENERIC_ALL | MAXIMUM_ALLOWED);
        if ((access & GENERIC_READ) != 0) granted |= Read;
        if ((access & GENERIC_WRITE) != 0) granted |= Write;
        if ((access & GENERIC_EXECUTE) != 0) granted |= Execute;
        if ((access & (GENERIC_ALL | MAXIMUM_ALLOWED)) != 0) granted |= All;
        return granted;
    }
}

/// <summary>A type of kernel objects: what its objects share.</summary>
public sealed class ObjectType
{
    internal ObjectType(string name, uint tag, GenericMapping mapping)
    {
        Name = name;
        Tag = tag;
        Mapping = mapping;
    }

    /// <summary>Such as <c>File</c>.</summary>
    public string Name { get; }

    /// <summary>The object that drivers name the type by, as <c>*IoFileObjectType</c>.</summary>
    public POBJECT_TYPE Object { get; internal set; }

    public GenericMapping Mapping { get; }

    /// <summary>The exported variable that points to <see cref="Object"/>, such as <c>IoFileObjectType</c>; null for types that have none.</summary>
    public string? Variable { get; internal init; }

    /// <summary>Pool tag of its objects.</summary>
    internal uint Tag { get; }

    /// <summary>The last handle to an object was closed; the object is still referenced. At PASSIVE_LEVEL.</summary>
    internal Action<PVOID>? Closed { get; set; }

    /// <summary>The last reference to an object is gone; its memory is still there. At PASSIVE_LEVEL.</summary>
    internal Action<PVOID>? Deleting { get; set; }

    /// <summary>An object is forgotten; gives its memory back where the type's owner keeps that.</summary>
    internal Action<PVOID>? Deleted { get; set; }

    /// <summary>Names objects that have a name outside of the namespace: null where one has none.</summary>
    internal Func<PVOID, string?>? NameOf { get; set; }

    /// <summary>Where the DISPATCHER_HEADER lies that a wait for a handle looks at; null if one cannot wait for such objects.</summary>
    internal int? WaitOffset { get; init; }

    public override string ToString() => Name;
}

/// <summary>The types of objects that a machine has from its start.</summary>
public sealed class ObjectTypes
{
    const uint ReadControl = STANDARD_RIGHTS_READ;
    readonly List<ObjectType> all = [];

    internal ObjectTypes()
    {
        Type = Add("Type", "ObTy", new(ReadControl, STANDARD_RIGHTS_WRITE, STANDARD_RIGHTS_EXECUTE, 0x000F0001));
        Directory = Add("Directory", "Dire", new(0x00020003, 0x0002000C, 0x00020003, DIRECTORY_ALL_ACCESS));
        SymbolicLink = Add("SymbolicLink", "Link", new(0x00020001, STANDARD_RIGHTS_WRITE, 0x00020001, SYMBOLIC_LINK_ALL_ACCESS));
        GenericMapping file = new(FILE_GENERIC_READ, FILE_GENERIC_WRITE, FILE_GENERIC_EXECUTE, FILE_ALL_ACCESS);
        Device = Add("Device", "Devi", file, "IoDeviceObjectType");
        Driver = Add("Driver", "Driv", file, "IoDriverObjectType");
        File = Add("File", "File", file, "IoFileObjectType", waitOffset: 0x98);
        GenericMapping signal = new(0x00020001, 0x00020002, 0x00120000, EVENT_ALL_ACCESS);
        Event = Add("Event", "Even", signal, "ExEventObjectType", waitOffset: 0);
        Semaphore = Add("Semaphore", "Sema", signal, "ExSemaphoreObjectType", waitOffset: 0);
        Mutant = Add("Mutant", "Muta", new(0x00020001, STANDARD_RIGHTS_WRITE, 0x00120000, 0x001F0001), waitOffset: 0);
        Timer = Add("Timer", "Time", signal, waitOffset: 0);
        Thread = Add("Thread", "Thre", new(0x00020048, 0x00020437, 0x00121800, 0x001FFFFF), "PsThreadType", waitOffset: 0);
        Process = Add("Process", "Proc", new(0x00020410, 0x00020BEA, 0x00121001, 0x001FFFFF), "PsProcessType", waitOffset: 0);
        IoCompletion = Add("IoCompletion", "IoCp", new(0x00020001, 0x00020002, 0x00120000, 0x001F0003), waitOffset: 0);
        Callback = Add("Callback", "Call", new(0x00020000, 0x00020001, 0x00120000, 0x001F0001));
        Section = Add("Section", "Sect", new(0x00020005, 0x00020002, 0x00020008, 0x000F001F), "MmSectionObjectType");
        Key = Add("Key", "Key ", new(KEY_READ, KEY_WRITE, KEY_READ, KEY_ALL_ACCESS), "CmKeyObjectType");
        Token = Add("Token", "Toke", new(0x0002001A, 0x000201E0, 0x00020000, 0x000F01FF), "SeTokenObjectType");
        // Types that drivers compare with, of which this machine has no objects.
        Add("Job", "Job ", new(0x00020004, 0x0002000B, 0x00120000, 0x001F003F), "PsJobType");
        Add("Adapter", "Adap", file, "IoAdapterObjectType");
        Add("ALPC Port", "AlPc", new(0x00020001, 0x00010001, 0, 0x001F0001), "LpcPortObjectType");
        Add("Desktop", "Desk", new(0x00020041, 0x000200BE, 0x00020100, 0x000F01FF), "ExDesktopObjectType");
        Add("WindowStation", "Wind", new(0x00020303, 0x0002001C, 0x00020060, 0x000F037F), "ExWindowStationObjectType");
    }

    public IReadOnlyList<ObjectType> All => all;

    public ObjectType Type { get; }

    public ObjectType Directory { get; }

    public ObjectType SymbolicLink { get; }

    public ObjectType Device { get; }

    public ObjectType Driver { get; }

    public ObjectType File { get; }

    public ObjectType Event { get; }

    public ObjectType Semaphore { get; }

    public ObjectType Mutant { get; }

    public ObjectType Timer { get; }

    public ObjectType Thread { get; }

    public ObjectType Process { get; }

    public ObjectType IoCompletion { get; }

    public ObjectType Callback { get; }

    public ObjectType Section { get; }

    public ObjectType Key { get; }

    public ObjectType Token { get; }

    /// <param name="tag">Four characters.</param>
    /// <param name="variable">The exported variable that points to the type.</param>
    ObjectType Add(string name, string tag, GenericMapping mapping, string? variable = null, int? waitOffset = null)
    {
        uint poolTag = (uint)(tag[0] | tag[1] << 8 | tag[2] << 16 | tag[3] << 24);
        var type = new ObjectType(name, poolTag, mapping) { Variable = variable, WaitOffset = waitOffset };
        all.Add(type);
        return type;
    }
}
