namespace Irpwright.Kernel;

/// <summary>How long an object's name leads to it.</summary>
enum NameLifetime : byte
{
    /// <summary>Until the last handle is closed.</summary>
    Handles,
    /// <summary>Until the component that owns the object takes it away.</summary>
    Owner,
    /// <summary>Until the object is made temporary; the name holds a reference (OBJ_PERMANENT).</summary>
    Permanent,
}

/// <summary>What the kernel knows of a counted object beside the object itself; guarded by the namespace's lock.</summary>
sealed class KernelObject(ulong address, ObjectType type, bool ownsMemory)
{
    internal ulong Address { get; } = address;

    internal ObjectType Type { get; } = type;

    /// <summary>Whether object and header are a block of pool.</summary>
    internal bool OwnsMemory { get; } = ownsMemory;

    /// <summary>The directory that contains the object's name; null for objects without one, and for the root.</summary>
    internal KernelObject? Directory { get; set; }

    /// <summary>Its name there.</summary>
    internal string Name { get; set; } = "";

    internal NameLifetime NameLifetime { get; set; }

    /// <summary>The one handle that there is may not be joined by others (OBJ_EXCLUSIVE).</summary>
    internal bool IsExclusive { get; set; }

    /// <summary>What a directory contains; null for all other objects.</summary>
    internal Dictionary<string, KernelObject>? Entries { get; init; }

    /// <summary>Where a symbolic link leads; null for all other objects.</summary>
    internal string? Target { get; set; }

    /// <summary>Self-relative security descriptor; null for the default one of named objects.</summary>
    internal byte[]? SecurityDescriptor { get; set; }

    /// <summary>The last reference is gone: it is being deleted.</summary>
    internal bool IsDeleting { get; set; }

    internal bool IsNamed => Directory is not null;

    /// <summary>Name from the root; null for objects without a name.</summary>
    internal string? FullName => Directory switch
    {
        null => Name == RootName ? RootName : null,
        { Name: RootName } => RootName + Name,
        var directory => directory.FullName + @"\" + Name,
    };

    /// <summary>Name of the directory that all names begin at; no other object can have it.</summary>
    internal const string RootName = @"\";
}
