using System.Buffers.Binary;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Security descriptors, access control lists and SIDs that drivers put together: data, by which nothing here decides.</summary>
/// <remarks>
/// A descriptor is absolute (pointers, 0x28 bytes) or, with SE_SELF_RELATIVE in its control word at 0x02, self-relative (32-bit offsets
/// from its start). The parts stand in the order owner, group, SACL, DACL.
/// </remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/ntifs/ns-ntifs-_security_descriptor"/>
public sealed class SecurityData
{
    const byte Revision = 1;
    const int AbsoluteSize = 0x28;
    const int RelativeSize = 0x14;
    const int SidHeader = 8;
    const int MaximumSubAuthorities = 15;
    const int AclHeader = 8;
    const byte AclRevision = 2;
    const byte AclRevisionObject = 4;
    const int Owner = 0, Group = 1, Sacl = 2, Dacl = 3;

    const ushort SE_OWNER_DEFAULTED = 0x0001;
    const ushort SE_GROUP_DEFAULTED = 0x0002;
    const ushort SE_DACL_PRESENT = 0x0004;
    const ushort SE_DACL_DEFAULTED = 0x0008;
    const ushort SE_SACL_PRESENT = 0x0010;
    const ushort SE_SACL_DEFAULTED = 0x0020;
    const ushort SE_SELF_RELATIVE = 0x8000;

    internal SecurityData()
    {
    }

    // ---- Security descriptors

    /// <summary>Prepares an absolute descriptor with no owner, no group and no lists. IRQL &lt;= APC_LEVEL.</summary>
    /// <returns>STATUS_UNKNOWN_REVISION for another revision than 1.</returns>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public NTSTATUS RtlCreateSecurityDescriptor(PVOID SecurityDescriptor, uint Revision)
    {
        if (Revision != SecurityData.Revision) return STATUS_UNKNOWN_REVISION;
        GuestMemory.Write(SecurityDescriptor.Address, AbsoluteSize).Clear();
        GuestMemory.Ref<byte>(SecurityDescriptor.Address) = SecurityData.Revision;
        return STATUS_SUCCESS;
    }

    /// <summary>Gives an absolute descriptor a DACL, or takes it away. IRQL &lt;= APC_LEVEL.</summary>
    /// <param name="Dacl">Null with <paramref name="DaclPresent"/>: everybody has all access.</param>
    /// <returns>STATUS_UNKNOWN_REVISION, STATUS_INVALID_SECURITY_DESCR for a self-relative one.</returns>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public NTSTATUS RtlSetDaclSecurityDescriptor(PVOID SecurityDescriptor, BOOLEAN DaclPresent, PVOID Dacl, BOOLEAN DaclDefaulted) =>
        Set(SecurityDescriptor, SecurityData.Dacl, DaclPresent ? Dacl : default, SE_DACL_PRESENT | SE_DACL_DEFAULTED,
            DaclPresent ? SE_DACL_PRESENT | (DaclDefaulted ? SE_DACL_DEFAULTED : 0) : 0);

    /// <summary>Gives an absolute descriptor an owner. IRQL &lt;= APC_LEVEL.</summary>
    /// <inheritdoc cref="RtlSetDaclSecurityDescriptor"/>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public NTSTATUS RtlSetOwnerSecurityDescriptor(PVOID SecurityDescriptor, PVOID Owner, BOOLEAN OwnerDefaulted) =>
        Set(SecurityDescriptor, SecurityData.Owner, Owner, SE_OWNER_DEFAULTED, OwnerDefaulted ? SE_OWNER_DEFAULTED : 0);

    /// <summary>Gives an absolute descriptor a primary group. IRQL &lt;= APC_LEVEL.</summary>
    /// <inheritdoc cref="RtlSetDaclSecurityDescriptor"/>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public NTSTATUS RtlSetGroupSecurityDescriptor(PVOID SecurityDescriptor, PVOID Group, BOOLEAN GroupDefaulted) =>
        Set(SecurityDescriptor, SecurityData.Group, Group, SE_GROUP_DEFAULTED, GroupDefaulted ? SE_GROUP_DEFAULTED : 0);

    /// <summary>The DACL of a descriptor; untouched outputs where there is none. IRQL &lt;= APC_LEVEL.</summary>
    /// <returns>STATUS_UNKNOWN_REVISION.</returns>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public NTSTATUS RtlGetDaclSecurityDescriptor(PVOID SecurityDescriptor, ref BOOLEAN DaclPresent, ref PVOID Dacl, ref BOOLEAN DaclDefaulted) =>
        GetList(SecurityDescriptor, SecurityData.Dacl, SE_DACL_PRESENT, SE_DACL_DEFAULTED, ref DaclPresent, ref Dacl, ref DaclDefaulted);

    /// <summary>The SACL of a descriptor; untouched outputs where there is none. IRQL &lt;= APC_LEVEL.</summary>
    /// <returns>STATUS_UNKNOWN_REVISION.</returns>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public NTSTATUS RtlGetSaclSecurityDescriptor(PVOID SecurityDescriptor, ref BOOLEAN SaclPresent, ref PVOID Sacl, ref BOOLEAN SaclDefaulted) =>
        GetList(SecurityDescriptor, SecurityData.Sacl, SE_SACL_PRESENT, SE_SACL_DEFAULTED, ref SaclPresent, ref Sacl, ref SaclDefaulted);

    /// <summary>The owner of a descriptor; null if it has none. IRQL &lt;= APC_LEVEL.</summary>
    /// <returns>STATUS_UNKNOWN_REVISION.</returns>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public NTSTATUS RtlGetOwnerSecurityDescriptor(PVOID SecurityDescriptor, out PVOID Owner, out BOOLEAN OwnerDefaulted) =>
        GetSid(SecurityDescriptor, SecurityData.Owner, SE_OWNER_DEFAULTED, out Owner, out OwnerDefaulted);

    /// <summary>The primary group of a descriptor; null if it has none. IRQL &lt;= APC_LEVEL.</summary>
    /// <returns>STATUS_UNKNOWN_REVISION.</returns>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public NTSTATUS RtlGetGroupSecurityDescriptor(PVOID SecurityDescriptor, out PVOID Group, out BOOLEAN GroupDefaulted) =>
        GetSid(SecurityDescriptor, SecurityData.Group, SE_GROUP_DEFAULTED, out Group, out GroupDefaulted);

    /// <summary>Whether a descriptor and its parts are well formed. IRQL &lt;= APC_LEVEL.</summary>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public BOOLEAN RtlValidSecurityDescriptor(PVOID SecurityDescriptor)
    {
        if (GuestMemory.Ref<byte>(SecurityDescriptor.Address) != Revision) return false;
        foreach (int sid in (ReadOnlySpan<int>)[Owner, Group])
        {
            if (PartOf(SecurityDescriptor, sid) is { IsNull: false } part && !RtlValidSid(part)) return false;
        }
        foreach (int list in (ReadOnlySpan<int>)[Sacl, Dacl])
        {
            if (PartOf(SecurityDescriptor, list) is { IsNull: false } part && !IsValidList(part)) return false;
        }
        return true;
    }

    /// <summary>Bytes of a descriptor with all its parts, as a self-relative one has. IRQL &lt;= APC_LEVEL.</summary>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public uint RtlLengthSecurityDescriptor(PVOID SecurityDescriptor)
    {
        uint length = IsRelative(SecurityDescriptor) ? RelativeSize : (uint)AbsoluteSize;
        for (int part = Owner; part <= Dacl; part++)
        {
            if (PartOf(SecurityDescriptor, part) is { IsNull: false } address)
                length += ((part <= Group ? RtlLengthSid(address) : GuestMemory.Ref<ushort>(address.Address + 2)) + 3) & ~3u;
        }
        return length;
    }

    /// <summary>Writes an absolute descriptor with all its parts in one piece. IRQL &lt;= APC_LEVEL.</summary>
    /// <param name="BufferLength">Bytes there are; receives how many are needed if these are too few.</param>
    /// <returns>STATUS_BAD_DESCRIPTOR_FORMAT for one that is self-relative already, STATUS_BUFFER_TOO_SMALL.</returns>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public NTSTATUS RtlAbsoluteToSelfRelativeSD(PVOID AbsoluteSecurityDescriptor, PVOID SelfRelativeSecurityDescriptor, ref uint BufferLength)
    {
        if (IsRelative(AbsoluteSecurityDescriptor)) return STATUS_BAD_DESCRIPTOR_FORMAT;
        byte[] descriptor = SecurityDescriptors.Capture(AbsoluteSecurityDescriptor);
        if (BufferLength < descriptor.Length)
        {
            BufferLength = (uint)descriptor.Length;
            return STATUS_BUFFER_TOO_SMALL;
        }
        descriptor.CopyTo(GuestMemory.Write(SelfRelativeSecurityDescriptor.Address, descriptor.Length));
        return STATUS_SUCCESS;
    }

    static ref ushort Control(PVOID descriptor) => ref GuestMemory.Ref<ushort>(descriptor.Address + 2);

    static bool IsRelative(PVOID descriptor) => (Control(descriptor) & SE_SELF_RELATIVE) != 0;

    static PVOID PartOf(PVOID descriptor, int part)
    {
        ushort present = part switch { Dacl => SE_DACL_PRESENT, Sacl => SE_SACL_PRESENT, _ => 0 };
        if ((Control(descriptor) & present) != present) return default;
        if (!IsRelative(descriptor)) return new PVOID(GuestMemory.Ref<ulong>(descriptor.Address + 8 + 8 * (ulong)part));
        uint offset = GuestMemory.Ref<uint>(descriptor.Address + 4 + 4 * (ulong)part);
        return offset == 0 ? default : new PVOID(descriptor.Address + offset);
    }

    static NTSTATUS Set(PVOID descriptor, int part, PVOID value, int cleared, int set)
    {
        if (GuestMemory.Ref<byte>(descriptor.Address) != Revision) return STATUS_UNKNOWN_REVISION;
        if (IsRelative(descriptor)) return STATUS_INVALID_SECURITY_DESCR;
        GuestMemory.Ref<ulong>(descriptor.Address + 8 + 8 * (ulong)part) = value.Address;
        Control(descriptor) = (ushort)((Control(descriptor) & ~cleared) | set);
        return STATUS_SUCCESS;
    }

    static NTSTATUS GetList(PVOID descriptor, int part, ushort presentFlag, ushort defaultedFlag, ref BOOLEAN present, ref PVOID list, ref BOOLEAN defaulted)
    {
        if (GuestMemory.Ref<byte>(descriptor.Address) != Revision) return STATUS_UNKNOWN_REVISION;
        present = (Control(descriptor) & presentFlag) != 0;
        if (!present) return STATUS_SUCCESS;
        list = PartOf(descriptor, part);
        defaulted = (Control(descriptor) & defaultedFlag) != 0;
        return STATUS_SUCCESS;
    }

    static NTSTATUS GetSid(PVOID descriptor, int part, ushort defaultedFlag, out PVOID sid, out BOOLEAN defaulted)
    {
        (sid, defaulted) = (default, false);
        if (GuestMemory.Ref<byte>(descriptor.Address) != Revision) return STATUS_UNKNOWN_REVISION;
        sid = PartOf(descriptor, part);
        defaulted = (Control(descriptor) & defaultedFlag) != 0;
        return STATUS_SUCCESS;
    }

    // ---- Access control lists

    /// <summary>Prepares an empty list. IRQL &lt;= APC_LEVEL.</summary>
    /// <param name="AclLength">Bytes, header included; a multiple of 4.</param>
    /// <returns>STATUS_BUFFER_TOO_SMALL, STATUS_INVALID_PARAMETER.</returns>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public NTSTATUS RtlCreateAcl(PVOID Acl, uint AclLength, uint AclRevision)
    {
        if (AclLength < AclHeader) return STATUS_BUFFER_TOO_SMALL;
        if (AclRevision is < SecurityData.AclRevision or > AclRevisionObject || AclLength > ushort.MaxValue) return STATUS_INVALID_PARAMETER;
        Span<byte> header = GuestMemory.Write(Acl.Address, AclHeader);
        header.Clear();
        header[0] = (byte)AclRevision;
        BinaryPrimitives.WriteUInt16LittleEndian(header[2..], (ushort)(AclLength & ~3u));
        return STATUS_SUCCESS;
    }

    /// <summary>Adds an entry that allows access to a SID, at the end. IRQL &lt;= APC_LEVEL.</summary>
    /// <returns>STATUS_INVALID_SID, STATUS_INVALID_ACL, STATUS_ALLOTTED_SPACE_EXCEEDED, STATUS_REVISION_MISMATCH.</returns>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public NTSTATUS RtlAddAccessAllowedAce(PVOID Acl, uint AceRevision, uint AccessMask, PVOID Sid)
    {
        if (!RtlValidSid(Sid)) return STATUS_INVALID_SID;
        if (GuestMemory.Ref<byte>(Acl.Address) > AclRevisionObject || AceRevision > AclRevisionObject) return STATUS_REVISION_MISMATCH;
        if (!IsValidList(Acl)) return STATUS_INVALID_ACL;
        uint used = UsedBytes(Acl), sidLength = RtlLengthSid(Sid), length = 8 + sidLength;
        if (used + length > GuestMemory.Ref<ushort>(Acl.Address + 2)) return STATUS_ALLOTTED_SPACE_EXCEEDED;
        Span<byte> entry = GuestMemory.Write(Acl.Address + used, (int)length);
        entry[0] = entry[1] = 0;
        BinaryPrimitives.WriteUInt16LittleEndian(entry[2..], (ushort)length);
        BinaryPrimitives.WriteUInt32LittleEndian(entry[4..], AccessMask);
        GuestMemory.Read(Sid.Address, (int)sidLength).CopyTo(entry[8..]);
        GuestMemory.Ref<ushort>(Acl.Address + 4)++;
        if (AceRevision > GuestMemory.Ref<byte>(Acl.Address)) GuestMemory.Ref<byte>(Acl.Address) = (byte)AceRevision;
        return STATUS_SUCCESS;
    }

    static uint UsedBytes(PVOID acl)
    {
        uint used = AclHeader;
        for (int i = 0; i < GuestMemory.Ref<ushort>(acl.Address + 4); i++) used += GuestMemory.Ref<ushort>(acl.Address + used + 2);
        return used;
    }

    static bool IsValidList(PVOID acl)
    {
        ushort size = GuestMemory.Ref<ushort>(acl.Address + 2), count = GuestMemory.Ref<ushort>(acl.Address + 4);
        if (GuestMemory.Ref<byte>(acl.Address) is < AclRevision or > AclRevisionObject || size < AclHeader || size % 4 != 0) return false;
        uint used = AclHeader;
        for (int i = 0; i < count; i++)
        {
            if (used + 4 > size) return false;
            ushort length = GuestMemory.Ref<ushort>(acl.Address + used + 2);
            used += length;
            if (length < 4 || used > size) return false;
        }
        return true;
    }

    // ---- SIDs: revision, count of sub-authorities, 6 bytes of authority, sub-authorities of 4 bytes

    /// <summary>Bytes of a SID. Any IRQL.</summary>
    [KernelExport]
    public uint RtlLengthSid(PVOID Sid) => RtlLengthRequiredSid(GuestMemory.Ref<byte>(Sid.Address + 1));

    /// <summary>Bytes of a SID with so many sub-authorities. Any IRQL.</summary>
    [KernelExport]
    public uint RtlLengthRequiredSid(uint SubAuthorityCount) => SidHeader + 4 * SubAuthorityCount;

    /// <summary>Whether revision and count of sub-authorities are possible. Any IRQL.</summary>
    [KernelExport]
    public BOOLEAN RtlValidSid(PVOID Sid) =>
        !Sid.IsNull && GuestMemory.Ref<byte>(Sid.Address) == Revision && GuestMemory.Ref<byte>(Sid.Address + 1) <= MaximumSubAuthorities;

    /// <summary>Prepares a SID; its sub-authorities stay as they are. Any IRQL.</summary>
    /// <param name="IdentifierAuthority">6 bytes.</param>
    /// <returns>STATUS_INVALID_PARAMETER for more than 15 sub-authorities.</returns>
    [KernelExport]
    public NTSTATUS RtlInitializeSid(PVOID Sid, PUCHAR IdentifierAuthority, byte SubAuthorityCount)
    {
        if (SubAuthorityCount > MaximumSubAuthorities) return STATUS_INVALID_PARAMETER;
        GuestMemory.Ref<byte>(Sid.Address) = Revision;
        GuestMemory.Ref<byte>(Sid.Address + 1) = SubAuthorityCount;
        GuestMemory.Read(IdentifierAuthority.Address, 6).CopyTo(GuestMemory.Write(Sid.Address + 2, 6));
        return STATUS_SUCCESS;
    }

    /// <summary>Address of the n-th sub-authority, counted from 0. Any IRQL.</summary>
    [KernelExport]
    public PULONG RtlSubAuthoritySid(PVOID Sid, uint SubAuthority) => new(Sid.Address + SidHeader + 4 * SubAuthority);

    /// <summary>Whether two SIDs are the same. Any IRQL.</summary>
    [KernelExport]
    public BOOLEAN RtlEqualSid(PVOID Sid1, PVOID Sid2)
    {
        int length = (int)RtlLengthSid(Sid1);
        return length == RtlLengthSid(Sid2) && GuestMemory.Read(Sid1.Address, length).SequenceEqual(GuestMemory.Read(Sid2.Address, length));
    }

    /// <summary>Copies a SID. Any IRQL.</summary>
    /// <returns>STATUS_BUFFER_TOO_SMALL.</returns>
    [KernelExport]
    public NTSTATUS RtlCopySid(uint DestinationSidLength, PVOID DestinationSid, PVOID SourceSid)
    {
        int length = (int)RtlLengthSid(SourceSid);
        if (length > DestinationSidLength) return STATUS_BUFFER_TOO_SMALL;
        GuestMemory.Read(SourceSid.Address, length).CopyTo(GuestMemory.Write(DestinationSid.Address, length));
        return STATUS_SUCCESS;
    }
}
