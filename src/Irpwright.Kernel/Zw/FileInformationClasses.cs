using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Which information can be queried or set by handle, and how many bytes the structure has at least.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ne-wdm-_file_information_class"/>
static class FileInformationClasses
{
    // FILE_MODE_INFORMATION: those options of the create request that can be seen, and changed, later.
    const uint ChangeableModes = FILE_WRITE_THROUGH | FILE_SEQUENTIAL_ONLY | FILE_SYNCHRONOUS_IO_ALERT | FILE_SYNCHRONOUS_IO_NONALERT;

    internal static uint? ToQuery(FILE_INFORMATION_CLASS informationClass) => informationClass switch
    {
        FILE_INFORMATION_CLASS.FileBasicInformation => FILE_BASIC_INFORMATION.SizeOf,
        FILE_INFORMATION_CLASS.FileStandardInformation => FILE_STANDARD_INFORMATION.SizeOf,
        FILE_INFORMATION_CLASS.FileInternalInformation => 8,
        FILE_INFORMATION_CLASS.FileEaInformation => 4,
        FILE_INFORMATION_CLASS.FileAccessInformation => 4,
        FILE_INFORMATION_CLASS.FileNameInformation => 8,
        FILE_INFORMATION_CLASS.FilePositionInformation => 8,
        FILE_INFORMATION_CLASS.FileModeInformation => 4,
        FILE_INFORMATION_CLASS.FileAlignmentInformation => 4,
        FILE_INFORMATION_CLASS.FileAllInformation => 0x68,
        FILE_INFORMATION_CLASS.FileAlternateNameInformation => 8,
        FILE_INFORMATION_CLASS.FileStreamInformation => 0x20,
        FILE_INFORMATION_CLASS.FilePipeInformation => 8,
        FILE_INFORMATION_CLASS.FilePipeLocalInformation => 0x28,
        FILE_INFORMATION_CLASS.FilePipeRemoteInformation => 0x10,
        FILE_INFORMATION_CLASS.FileMailslotQueryInformation => 0x18,
        FILE_INFORMATION_CLASS.FileCompressionInformation => 0x10,
        FILE_INFORMATION_CLASS.FileNetworkOpenInformation => 0x38,
        FILE_INFORMATION_CLASS.FileAttributeTagInformation => 8,
        FILE_INFORMATION_CLASS.FileHardLinkInformation => 0x18,
        FILE_INFORMATION_CLASS.FileNormalizedNameInformation => 8,
        FILE_INFORMATION_CLASS.FileIsRemoteDeviceInformation => 1,
        FILE_INFORMATION_CLASS.FileStandardLinkInformation => 0x10,
        FILE_INFORMATION_CLASS.FileIdInformation => 0x18,
        _ => null,
    };

    internal static uint? ToSet(FILE_INFORMATION_CLASS informationClass) => informationClass switch
    {
        FILE_INFORMATION_CLASS.FileBasicInformation => FILE_BASIC_INFORMATION.SizeOf,
        FILE_INFORMATION_CLASS.FileDispositionInformation => 1,
        FILE_INFORMATION_CLASS.FilePositionInformation => 8,
        FILE_INFORMATION_CLASS.FileModeInformation => 4,
        FILE_INFORMATION_CLASS.FileAllocationInformation => 8,
        FILE_INFORMATION_CLASS.FileEndOfFileInformation => 8,
        FILE_INFORMATION_CLASS.FilePipeInformation => 8,
        FILE_INFORMATION_CLASS.FilePipeRemoteInformation => 0x10,
        FILE_INFORMATION_CLASS.FileMailslotSetInformation => 8,
        FILE_INFORMATION_CLASS.FileCompletionInformation => 0x10,
        FILE_INFORMATION_CLASS.FileValidDataLengthInformation => 8,
        FILE_INFORMATION_CLASS.FileShortNameInformation => 8,
        FILE_INFORMATION_CLASS.FileIoCompletionNotificationInformation => 4,
        FILE_INFORMATION_CLASS.FileDispositionInformationEx => 4,
        _ => null,
    };

    internal static uint? ToQuery(FS_INFORMATION_CLASS informationClass) => informationClass switch
    {
        FS_INFORMATION_CLASS.FileFsVolumeInformation => 0x18,
        FS_INFORMATION_CLASS.FileFsSizeInformation => 0x18,
        FS_INFORMATION_CLASS.FileFsDeviceInformation => 8,
        FS_INFORMATION_CLASS.FileFsAttributeInformation => 0x10,
        FS_INFORMATION_CLASS.FileFsControlInformation => 0x30,
        FS_INFORMATION_CLASS.FileFsFullSizeInformation => 0x20,
        FS_INFORMATION_CLASS.FileFsObjectIdInformation => 0x40,
        FS_INFORMATION_CLASS.FileFsSectorSizeInformation => 0x1C,
        _ => null,
    };

    internal static uint? ToSet(FS_INFORMATION_CLASS informationClass) => informationClass switch
    {
        FS_INFORMATION_CLASS.FileFsLabelInformation => 8,
        FS_INFORMATION_CLASS.FileFsControlInformation => 0x30,
        FS_INFORMATION_CLASS.FileFsObjectIdInformation => 0x40,
        _ => null,
    };

    internal static uint ModeOf(FO_FLAGS flags)
    {
        uint mode = 0;
        if ((flags & FO_WRITE_THROUGH) != 0) mode |= FILE_WRITE_THROUGH;
        if ((flags & FO_SEQUENTIAL_ONLY) != 0) mode |= FILE_SEQUENTIAL_ONLY;
        if ((flags & FO_NO_INTERMEDIATE_BUFFERING) != 0) mode |= FILE_NO_INTERMEDIATE_BUFFERING;
        if ((flags & FO_SYNCHRONOUS_IO) != 0) mode |= (flags & FO_ALERTABLE_IO) != 0 ? FILE_SYNCHRONOUS_IO_ALERT : FILE_SYNCHRONOUS_IO_NONALERT;
        if ((flags & FO_DELETE_ON_CLOSE) != 0) mode |= FILE_DELETE_ON_CLOSE;
        return mode;
    }

    /// <returns>STATUS_INVALID_PARAMETER for what cannot be changed: whether the file is synchronous, and all but the modes named above.</returns>
    internal static NTSTATUS SetMode(PFILE_OBJECT file, uint mode)
    {
        const uint alert = FILE_SYNCHRONOUS_IO_ALERT, noAlert = FILE_SYNCHRONOUS_IO_NONALERT;
        bool synchronous = (file.Flags & FO_SYNCHRONOUS_IO) != 0;
        bool isOneOf = (mode & alert) != 0 != ((mode & noAlert) != 0);
        if ((mode & ~ChangeableModes) != 0 || (synchronous ? !isOneOf : (mode & (alert | noAlert)) != 0)) return NTSTATUS.STATUS_INVALID_PARAMETER;
        FO_FLAGS flags = file.Flags & ~(FO_WRITE_THROUGH | FO_SEQUENTIAL_ONLY | FO_ALERTABLE_IO);
        if ((mode & FILE_WRITE_THROUGH) != 0) flags |= FO_WRITE_THROUGH;
        if ((mode & FILE_SEQUENTIAL_ONLY) != 0) flags |= FO_SEQUENTIAL_ONLY;
        if ((mode & alert) != 0) flags |= FO_ALERTABLE_IO;
        file.Flags = flags;
        return NTSTATUS.STATUS_SUCCESS;
    }
}
